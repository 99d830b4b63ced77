"""Tell what a trained network costs: its parameters, and the time of its training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from dinoir_plugin.core import network_file
from dinoir_plugin.experiments.runs import checkpoint_of
from dinoir_plugin.experiments.table_rows import NOTHING

HEADS = ('parameters (M)', 'training')
NOTE = (
    "Parameters are those of the network's file, which a frozen encoder is not in. Training is wall-clock time by the "
    "runs' logs, h:mm:ss, validation included; with several seeds their mean."
)
STAMP = re.compile(r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) [A-Z]+: ', re.MULTILINE)  # of a line of BasicSR's log


def cells(names: Sequence[str], before: Sequence[str] = ()) -> tuple[str, str]:
    """Write parameters in millions, and the time of training.

    Args:
        names: Folders of a network's runs, one for each seed.
        before: Those whose networks they begin with; their time counts.
    """
    count, times = parameters(names[0]), [training_time(name) for name in names]
    earlier = [training_time(name) for name in before]
    known = [time.total_seconds() for time in (*times, *earlier) if time is not None]
    size = NOTHING if count is None else f'{count / 1e6:.2f}'
    if not known or len(known) < len(times) + len(earlier):
        return size, NOTHING
    return size, str(timedelta(seconds=round(sum(known) / len(times))))


def parameters(name: str) -> int | None:
    """Count the numbers in the trained network of a run; None where there is none."""
    path = checkpoint_of(name)
    if not path.is_file():
        return None
    state = next(iter(network_file.read(path).states.values()))
    return sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point())


def training_time(name: str) -> timedelta | None:
    """Read from a run's logs how long it was trained, all attempts together; None where they do not say."""
    folder = checkpoint_of(name).parents[1]
    spans = [span for path in sorted(folder.glob('train_*.log')) if (span := _span(path)) is not None]
    return sum(spans, timedelta()) if spans else None


def _span(log: Path) -> timedelta | None:
    stamps = STAMP.findall(log.read_text(encoding='utf-8', errors='replace'))
    if not stamps:
        return None
    first, last = (datetime.fromisoformat(stamp.replace(',', '.')) for stamp in (stamps[0], stamps[-1]))
    return last - first
