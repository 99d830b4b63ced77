"""What has been measured: figures, and of which images and networks they are."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.experiments.variants import as_yaml, read_yaml

FOLDER = Path('experiments/reproduce')  # options files, records, reports and figures


class RunError(ValueError):
    """What cannot be done or went wrong; the text is for people."""


class Figure(NamedTuple):
    """Hold a mean over seeds, and the standard deviation where there are several."""

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Take the values of each seed, at least one; there is no spread with an infinite one."""
        spread = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
        return cls(statistics.fmean(values), spread)


def result_file(name: str, test: str) -> Path:
    """Say where the figures of one test are; ``name`` is that of the run's folder."""
    return Path('results') / name / f'metrics_{test}.json'


def figures(names: Sequence[str], test: str, metric: str) -> Figure | None:
    """Give one cell of a table: a test's mean over the seeds, whose runs ``names`` are; None where one is missing."""
    values = []
    for name in names:
        path = result_file(name, test)
        average = json.loads(path.read_text(encoding='utf-8'))['means']['average'] if path.is_file() else {}
        if metric not in average:
            return None
        value = average[metric]
        values.append(math.inf if value is None else value)  # JSON has no number for the PSNR of equal images
    return Figure.of(values)


def not_measured(name: str, tests: dict[str, Any], network: Path | None = None) -> dict[str, Any]:
    """Find the tests without figures, or with those of other images or of an earlier network.

    Args:
        name: Of the folder in ``results/``.
        tests: Name of each test to its tasks.
        network: Its file; without one that is there, nothing is known of what the figures are. None: they are of no
            network.
    """
    known = recorded(name)
    if network is not None and not network.is_file():
        return tests
    earliest = network.stat().st_mtime if network else 0

    def there(test: str) -> bool:
        path = result_file(name, test)
        return path.is_file() and path.stat().st_mtime >= earliest and known.get(test) == tests[test]

    return {test: tasks for test, tasks in tests.items() if not there(test)}


def refuse_stale(name: str, tests: dict[str, Any], network: Path | None = None) -> None:
    """Refuse figures that a report must not show; arguments as :func:`not_measured`.

    Raises:
        RunError: There are some.
    """
    stale = [test for test in not_measured(name, tests, network) if result_file(name, test).is_file()]
    if stale:
        raise RunError(
            f'results/{name}: the figures of {", ".join(stale)} are of other images, or of an earlier network or one '
            'that is gone. `run` in place of `report` makes them anew'
        )


def recorded(name: str) -> dict[str, Any]:
    """Read of which images the figures in ``results/<name>`` are: name of each test to its tasks."""
    path = _record_path(name)
    return read_yaml(path) if path.is_file() else {}


def record(name: str, tests: dict[str, Any]) -> None:
    """Write down of which images the figures in ``results/<name>`` are, for :func:`recorded`."""
    write(_record_path(name), tests)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write an options or record file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, as_yaml(content).encode())


def _record_path(name: str) -> Path:
    return FOLDER / f'{name}_measured.yml'
