"""Measuring: forms that take turns, and peak memory in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dinoir_plugin.core import freed_memory

Form = Callable[[], Any]


@dataclass
class Result:
    """Hold what a row reports.

    Attributes:
        ratio: The figure that the row's title speaks of.
        unit: Of the values in ``forms``.
        forms: Name to median and quartiles.
        note: What a reader has to know beside the numbers.
    """

    ratio: float
    unit: str
    forms: dict[str, dict[str, float]]
    note: str = field(default='')


def in_turns(forms: dict[str, Form], runs: int) -> dict[str, list[float]]:
    """Time each form's runs in seconds; they take turns after a warm-up, so that a slow minute meets all of them."""
    for form in forms.values():
        form()
        _wait()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(runs):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            _wait()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def speed_up(forms: dict[str, Form], runs: int) -> Result:
    """Measure how many times as fast the form 'ours' is as the form 'against'."""
    return times_as_fast(in_turns(forms, runs))


def times_as_fast(seconds: dict[str, list[float]]) -> Result:
    """Report how many times as fast 'ours' was as 'against', from the seconds of their turns."""
    return Result(paired(seconds['against'], seconds['ours']), 's', spreads(seconds))


def cost(forms: dict[str, Form], runs: int) -> Result:
    """Measure how many times the time of the form 'against' the form 'ours' takes."""
    seconds = in_turns(forms, runs)
    return Result(paired(seconds['ours'], seconds['against']), 's', spreads(seconds))


def paired(upper: list[float], lower: list[float]) -> float:
    """Take the median of the ratios of each turn: what slows a machine for a while slows both halves of a turn."""
    return statistics.median(a / b for a, b in zip(upper, lower, strict=True))


def spreads(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Compute median and quartiles of each form."""
    return {name: spread(values) for name, values in seconds.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Compute median and quartiles."""
    if len(values) == 1:
        return {'median': values[0], 'quartile_1': values[0], 'quartile_3': values[0]}
    low, median, high = statistics.quantiles(values, n=4, method='inclusive')
    return {'median': median, 'quartile_1': low, 'quartile_3': high}


def keeping_memory(row: Callable[[int], Result]) -> Callable[[int], Result]:
    """Run a row with an allocator that gives no memory back to the system, as preloading jemalloc or tcmalloc would.

    Linux clears memory that a process takes anew page by page, which for large features costs as much as arithmetic.
    """

    def run(runs: int) -> Result:
        _keep_memory()
        return row(runs)

    return run


def _keep_memory() -> None:
    if not freed_memory.keep():
        raise RuntimeError('The C library does not take mallopt; glibc does.')


def in_turns_apart(make: Callable[..., Form], keeps: dict[str, bool], runs: int) -> dict[str, list[float]]:
    """Time a form's runs in processes that take turns, as :func:`in_turns` does.

    Args:
        make: A function of a module, called in each process; gives the form.
        keeps: Name of a process to whether it keeps the memory that it frees.
        runs: Of each, after one to warm up.
    """
    context = multiprocessing.get_context('spawn')
    ends: dict[str, Any] = {}
    for name, kept in keeps.items():
        ends[name], other = context.Pipe()
        context.Process(target=_run_when_told, args=(other, make, kept), daemon=True).start()
        other.close()
    seconds = in_turns({name: partial(_tell_to_run, end) for name, end in ends.items()}, runs)
    for end in ends.values():
        end.send(False)
    return seconds


def _tell_to_run(end: Any) -> None:
    end.send(True)
    end.recv()


def _run_when_told(end: Any, make: Callable[..., Form], kept: bool) -> None:
    if kept:
        _keep_memory()
    form = make()
    while end.recv():
        form()
        end.send(None)


def no_grad(form: Form) -> Form:
    """Run a form without autograd."""

    def run() -> Any:
        with torch.no_grad():
            return form()

    return run


def peak_memory(make: Callable[..., Form], *arguments: Any) -> float:
    """Measure the most bytes that a form held at a time beyond what was there before it ran, in a fresh process.

    Resident memory of the process as Linux counts it. The form runs twice, and the second run counts: what the first
    leaves for good, such as an optimizer's state, is not in it.

    Args:
        make: A function of a module, called with ``arguments`` in the new process; gives the form.
        *arguments: Plain values.
    """
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report_peak, args=(sender, make, arguments))
    process.start()
    sender.close()
    try:
        bytes_held: float = receiver.recv()
    except EOFError as error:
        raise RuntimeError(f'The process that measured {make.__name__}{arguments} ended early.') from error
    process.join()
    return bytes_held


def _report_peak(sender: Any, make: Callable[..., Form], arguments: tuple[Any, ...]) -> None:
    form = make(*arguments)
    form()
    # what is free, but kept by the C library for later, is not held
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _status('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # the high-water mark starts anew from here
    form()
    sender.send(float(_status('VmHWM') - before))


def _status(key: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
