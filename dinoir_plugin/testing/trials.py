"""Faults that a training run meets, tried on real processes, and whether the run survives them.

A trial gives an Outcome: whether the run ended as it should, and what it said. ``scripts/faults.py`` makes a table of
them, the tests ask for the short form.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dinoir_plugin.core.atomic_files import load_verified
from dinoir_plugin.core.training_state import PASSED_OVER, checkpoints, newest_whole
from dinoir_plugin.plugin.last_words import EXPLANATION
from dinoir_plugin.testing.project import Project, logged

PAGE = 4096

ITERATIONS = 24
SAVE_EVERY = 3
LOGGED = ('l_pix', 'l_dpc', 'psf/deep', 'l1/denoise', 'l1/dehaze')
TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '-m', 'basicsr.train')
LAUNCHER = ('--launcher', 'pytorch')


class Outcome(NamedTuple):
    """Hold what became of a run.

    Attributes:
        survived: Whether it ended as it should have.
        said: The line that says why it stopped, or what differed.
    """

    survived: bool
    said: str


def prepare(
    project: Project, iterations: int = ITERATIONS, save_every: int = SAVE_EVERY, print_freq: int = 1
) -> Project:
    """Set a project to run for so long and to save often; return it."""
    project.train.update(total_iter=iterations)
    project.train['scheduler'].update(milestones=[iterations // 3, iterations // 2])
    project.options['logger'].update(save_checkpoint_freq=save_every, print_freq=print_freq)
    return project


def end_of(project: Project) -> dict[str, Any]:
    """Read the last checkpoint's content: networks, average, optimizer, scheduler, random numbers."""
    total = project.train['total_iter']
    files = [project.models / f'net_g_{name}.pth' for name in (total, 'latest')]
    files.append(project.states / f'{total}.state')
    return {path.name: load_verified(path) for path in files}


def first_difference(a: Any, b: Any, place: str = '') -> str | None:
    """Say where two nested contents differ, None where they are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        same = isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
        return None if same else place
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f'{place}: {sorted(map(str, a.keys() ^ b.keys()))}'
        return next(filter(None, (first_difference(a[key], b[key], f'{place}/{key}') for key in a)), None)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return next(filter(None, (first_difference(x, y, f'{place}/{n}') for n, (x, y) in enumerate(zip(a, b)))), None)
    return None if a == b else place


def lines(log: str) -> dict[int, set[Any]]:
    """Read what was logged of each iteration; a later line of an iteration must repeat the earlier one."""
    found: dict[int, set[Any]] = {}
    for line in log.splitlines():
        match = re.search(r'iter:\s*([\d,]+)', line)
        if match and 'l_pix' in line:
            iteration = int(match[1].replace(',', ''))
            found.setdefault(iteration, set()).add(tuple((key, *logged(line, key)) for key in LOGGED))
    return found


def killed_at_random(project: Project, kills: int, seed: int, more: tuple[str, ...] = (), **start: Any) -> str:
    """Kill all of a run's processes ``kills`` times, somewhere after an iteration, and let it end at last.

    Arguments as :func:`interrupted`.

    Returns:
        All that was logged.
    """
    rng = random.Random(seed)
    log = ''
    done = 0
    for kill in range(kills):
        process = project.start(*more, *(('--auto_resume',) if kill else ()), **start)
        target = done + rng.randint(1, max(1, (project.train['total_iter'] - done) // (kills - kill + 1)))
        for line in process.stdout or ():
            log += line
            iterations = lines(line)
            if iterations and max(iterations) >= target:
                done = max(iterations)
                break
        time.sleep(rng.uniform(0, 0.15))
        os.killpg(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        log += rest
        done = max(lines(log), default=0)
    return log + project.run(*more, '--auto_resume', **start).log


def interrupted(project: Project, kills: int, seed: int, more: tuple[str, ...] = (), **start: Any) -> Outcome:
    """Let a run end in peace, then run it anew and kill it ``kills`` times on the way.

    Args:
        project: One that :func:`prepare` has set.
        kills: How often.
        seed: Of the moments.
        more: Further arguments of the trainer.
        **start: Further arguments of ``project.start``.

    Returns:
        Whether every line of the log and the last checkpoint are the same to the last bit.
    """
    wanted = lines(project.run(*more, **start).log)
    reference = end_of(project)
    run = project.models.parent
    run.rename(run.with_name('reference'))
    log = killed_at_random(project, kills, seed, more, **start)
    got = lines(log)
    for iteration, values in wanted.items():
        if got.get(iteration) != values:
            return Outcome(False, f'iteration {iteration} logged {got.get(iteration)} instead of {values}\n{log}')
    place = first_difference(reference, end_of(project))
    return Outcome(place is None, f'{place} differs' if place else 'weights, average, state and log are the same')


def cut_checkpoints(project: Project, parts: int = 16) -> Iterator[Outcome]:
    """Cut the newest network and the newest state at every ``parts``-th of their length; the run is there already."""
    run = project.models.parent
    folders = {'models': project.models, 'training_states': project.states, 'experiments_root': run}
    opt = {'network_g': {}, 'path': folders}
    newest, before = (checkpoint.iteration for checkpoint, _ in zip(checkpoints(opt), range(2)))
    for path in (project.models / f'net_g_{newest}.pth', project.states / f'{newest}.state'):
        whole = path.read_bytes()
        for part in range(parts):
            path.write_bytes(whole[: len(whole) * part // parts])
            found = newest_whole(opt)
            said = found[1][PASSED_OVER][0] if found else 'there is none'
            good = found is not None and found[0].iteration == found[1]['iter'] == before and path.name in said
            yield Outcome(good, f'{path.name} cut at {part}/{parts}: {said}')
        path.write_bytes(whole)


def full_disk(project: Project, limit: int) -> Outcome:
    """Go on with a run where no file may be larger than ``limit`` bytes, then without that limit."""
    saved = sorted(path.name for path in project.models.glob('net_g_*.pth'))
    project.train['total_iter'] += 2
    done = project.run('--auto_resume', ok=False, preexec_fn=small_files(limit))
    said = last_line(done.log)
    whole = sorted(path.name for path in project.models.glob('net_g_*.pth'))
    good = done.returncode == 1 and 'cannot be written (File too large' in said
    good = good and not list(project.models.parent.rglob('.*.part')) and set(saved) <= set(whole)
    return Outcome(good and project.run('--auto_resume').returncode == 0, said)


def damaged_lmdbs(images: Path, folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Overwrite a page of an LMDB of PNGs with noise, ``count`` times, and read all of it in a process of its own."""
    rng = random.Random(seed)
    whole = (images / 'hazy.lmdb' / 'data.mdb').read_bytes()
    used = len(whole.rstrip(b'\0'))
    for number in range(count):
        root = folder / f'{number}.lmdb'
        shutil.copytree(images / 'hazy.lmdb', root)
        place = rng.randrange(0, used, PAGE)
        with (root / 'data.mdb').open('r+b') as file:
            file.seek(place)
            file.write(rng.randbytes(PAGE))
        command = [sys.executable, '-m', 'dinoir_plugin.testing.read_all', str(root), str(images / 'hazy.lmdb')]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = last_line(done.stdout + done.stderr)
        yield Outcome(done.returncode == 0, f'page {place // PAGE}: exit status {done.returncode}, {said}')
        shutil.rmtree(root)


def started(
    project: Project, *more: str, until: int = 3, **start: Any
) -> tuple[subprocess.Popen[str], str]:
    """Start a run and wait until iteration ``until``; return it and what it has said."""
    process = project.start(*more, **start)
    log = ''
    for line in process.stdout or ():
        log += line
        if max(lines(line), default=0) >= until:
            break
    return process, log


def children_of(parent: int) -> list[int]:
    """List the processes that a process has started."""
    return [int(pid) for pid in Path(f'/proc/{parent}/task/{parent}/children').read_text().split()]


def killed_worker(project: Project) -> Outcome:
    """Kill the processes that load images."""
    process, log = started(prepare(project, iterations=5000, save_every=5000))
    for pid in children_of(process.pid):
        os.kill(pid, signal.SIGKILL)
    log += process.communicate(timeout=60)[0]
    good = process.returncode == 1 and EXPLANATION in log
    return Outcome(good, f'exit status {process.returncode}: {last_line(log)}')


def killed_rank(project: Project) -> Outcome:
    """Kill one of two ranks; the launcher has a minute to end the other."""
    process, log = started(prepare(project, iterations=5000, save_every=5000), *LAUNCHER, command=TORCHRUN)
    os.kill(children_of(process.pid)[-1], signal.SIGKILL)
    begin = time.monotonic()
    log += process.communicate(timeout=120)[0]
    seconds = time.monotonic() - begin
    good = seconds < 60 and process.returncode != 0 and 'exitcode  : -9' in log
    return Outcome(good, f'{seconds:.0f} s, exit status {process.returncode}')


def last_line(log: str) -> str:
    """Give what a person sees at the end."""
    return next(line for line in reversed(log.splitlines()) if line.strip()).strip()


def small_files(limit: int) -> Callable[[], None]:
    """Give what a process does about to start, so that a write beyond ``limit`` bytes fails, as on a full disk."""

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return set_limit
