"""Run BasicSR's own programs with their output in a file; the terminal shows how far they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dinoir_plugin.core.console import INTERRUPTED, note
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.models.step_checks import REQUEUE

LAST_LINES = 20
LAST_BYTES = 20_000
LOOK_EVERY = 0.5  # seconds


class Progress(NamedTuple):
    """Say how a program's output tells how far it is.

    Attributes:
        pattern: Found in lines of progress; its group is the number that was reached, without one each line counts one.
        total: The last number.
        unit: What is counted.
    """

    pattern: re.Pattern[str]
    total: int
    unit: str


def start(words: list[str], log: Path, title: str, progress: Progress | None = None) -> None:
    """Run a Python program to its end. Asked to stop, it stops first: the trainer saves its iteration.

    Args:
        words: Its command line, without the interpreter.
        log: Its output is added to this file.
        title: What is done, for the terminal and for errors.
        progress: Shown as a bar in a terminal; None: no bar.

    Raises:
        RunError: It was stopped or failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('ab') as out:
        began = out.tell()
        # a traceback is to stand behind what was printed before it
        environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
        with subprocess.Popen(
            [sys.executable, *words], stdout=out, stderr=subprocess.STDOUT, env=environment
        ) as program:
            earlier = signal.signal(signal.SIGTERM, lambda number, frame: program.terminate())
            try:
                status = _wait(program, log, began, title, progress)
            except KeyboardInterrupt:  # which the terminal sent to the program, too
                note('waits for the program to stop: the trainer saves its iteration; Ctrl-C once more stops at once')
                program.wait()
                raise
            finally:
                signal.signal(signal.SIGTERM, earlier)
    if status in (REQUEUE, INTERRUPTED, -signal.SIGTERM):
        raise RunError('stopped; the same command goes on from here')
    if status:
        raise RunError(f'{title} failed: `python {" ".join(words)}` ended with status {status}. The end of its output, '
                       f'which is in {log}:\n{_last_lines(log, began)}')  # fmt: skip


def _wait(program: subprocess.Popen[bytes], log: Path, began: int, title: str, progress: Progress | None) -> int:
    """Wait for a program and read from its output how far it is; return its status."""
    if progress is None or not sys.stderr.isatty():
        return program.wait()
    with log.open('rb') as said, tqdm(
        total=progress.total, desc=title, unit=progress.unit, leave=False, dynamic_ncols=True
    ) as bar:
        said.seek(began)
        rest = ''
        while True:
            try:
                program.wait(LOOK_EVERY)
            except subprocess.TimeoutExpired:
                pass
            *lines, rest = (rest + said.read().decode(errors='replace')).split('\n')
            _show(bar, [found for line in lines if (found := progress.pattern.search(line))])
            if program.returncode is not None:
                return program.returncode


def _show(bar: tqdm, found: list[re.Match[str]]) -> None:
    """Move the bar to what lines of progress say."""
    if not found:
        bar.refresh()  # the time that has passed
        return
    reached = int(found[-1][1].replace(',', '')) if found[-1].re.groups else bar.n + len(found)
    if bar.n == 0 and found[-1].re.groups:
        # a run that goes on has not done all of it now, and the time left is not counted from its start
        bar.initial = bar.n = reached
        bar.refresh()
    else:
        bar.update(reached - bar.n)


def _last_lines(log: Path, began: int) -> str:
    """Read the end of a program's output, of bars that rewrite their line what they showed last."""
    with log.open('rb') as file:
        file.seek(max(began, log.stat().st_size - LAST_BYTES))
        lines = file.read().decode(errors='replace').rstrip().split('\n')
    return '\n'.join(f'  {line.rstrip().rsplit(chr(13), 1)[-1]}' for line in lines[-LAST_LINES:])
