"""Faults tried on real training runs: how many were tried, survived, lost.

    python scripts/faults.py                 all of them (about half an hour on 2 cores)
    python scripts/faults.py --kills 5       fewer moments at which runs are killed
    python scripts/faults.py --seed 7        other moments and pages
    python scripts/faults.py --only rank     those whose names have this word; the other rows of the table stay

A killed run survives when, continued with --auto_resume, it ends with the weights, average, optimizer and log of the
run that was never killed, to the last bit. Other faults are survived when the run stops with a message that names the
cause, or goes on from whole files. The table goes to benchmarks/faults.md; exit status 1 where something was lost.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dinoir_plugin.core.machine import machine
from dinoir_plugin.testing import trials
from dinoir_plugin.testing.project import TINY_NETWORK, Project, make_images

OUT = Path(__file__).resolve().parent.parent / 'benchmarks' / 'faults.md'
TWO_RANKS: dict[str, Any] = {'more': trials.LAUNCHER, 'command': trials.TORCHRUN}


class Workshop:
    """Make images, and a fresh project for each fault."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.images = make_images(folder / 'images')
        self._made = 0

    def project(self, suffix: str = '', **data: Any) -> Project:
        """Make a project in a folder of its own; ``data`` goes into the options of its training set."""
        self._made += 1
        folder = self.folder / f'project{self._made}'
        folder.mkdir()
        project = trials.prepare(Project(folder, self.images, copy.deepcopy(TINY_NETWORK), suffix))
        project.data.update(data)
        project.add_validation(val_freq=5, save_img=False)
        return project


def kills(workshop: Workshop, count: int, suffix: str = '', more: tuple[str, ...] = (), **options: Any) -> Any:
    """Kill runs; each counts as many kills as it survived."""
    command = {'command': options.pop('command')} if 'command' in options else {}
    project = trials.prepare(workshop.project(suffix, **options), iterations=max(24, 6 * count))
    outcome = trials.interrupted(project, count, workshop.seed, more, **command)
    return [outcome] * count


def cut_checkpoints(workshop: Workshop) -> Iterator[trials.Outcome]:
    """Cut both files of the newest checkpoint at every 1/16 of their length."""
    project = trials.prepare(workshop.project(), iterations=4, save_every=2)
    project.run()
    return trials.cut_checkpoints(project)


def full_disks(workshop: Workshop) -> Iterator[trials.Outcome]:
    """Fill the disk at the first byte, in the network, and in the state."""
    project = trials.prepare(workshop.project(), iterations=2, save_every=2)
    project.options['val'].update(val_freq=1000)
    project.run()
    network = (project.models / 'net_g_2.pth').stat().st_size
    for limit in (network // 7, network // 2, network - 1):
        yield trials.full_disk(project, limit)


def every_fault(workshop: Workshop, count: int) -> dict[str, Callable[[], Iterable[trials.Outcome]]]:
    """List what can be tried, by the name that it has in the table."""
    few = max(1, count // 6)
    return {
        'SIGKILL at a random moment, one process, folders': lambda: kills(workshop, count - 2 * few),
        'the same, LMDB, 4 loader workers': lambda: kills(workshop, few, '.lmdb', num_worker_per_gpu=4),
        'the same, two ranks, a spawned worker each': lambda: kills(
            workshop, few, num_worker_per_gpu=1, dataset_enlarge_ratio=20, **TWO_RANKS
        ),
        'newest network or state cut at every 1/16 of its length': lambda: cut_checkpoints(workshop),
        'disk full while a network is written': lambda: full_disks(workshop),
        'a page of an LMDB (PNG) overwritten with noise': lambda: trials.damaged_lmdbs(
            workshop.images, workshop.folder, 30, workshop.seed
        ),
        'a loader worker killed': lambda: [trials.killed_worker(workshop.project(num_worker_per_gpu=1))],
        'a rank killed': lambda: [trials.killed_rank(workshop.project())],
    }


def table(workshop: Workshop, count: int, only: str, earlier: str) -> str:
    """Try the faults whose names contain ``only`` and write down what came of them; other rows as in ``earlier``."""
    where = machine()
    lines = [
        f'Tried on {where["cores"]} cores of {where["cpu"]}, Python {where["python"]}, PyTorch {where["torch"]}, seed '
        f'{workshop.seed}.',
        '',
        '| fault | tried | survived | lost |',
        '|---|---|---|---|',
    ]
    for name, attempt in every_fault(workshop, count).items():
        if only not in name:
            lines += [line for line in earlier.splitlines() if line.startswith(f'| {name} |')]
            continue
        outcomes = list(attempt())
        lost = [outcome for outcome in outcomes if not outcome.survived]
        lines.append(f'| {name} | {len(outcomes)} | {len(outcomes) - len(lost)} | {len(lost)} |')
        print(lines[-1], flush=True)
        for outcome in lost:
            print(f'  {outcome.said}', flush=True)
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Read the command line and try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=30, help='how often runs are killed (default 30)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', metavar='WORD')
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        earlier = args.out.read_text() if args.out.is_file() else ''
        text = table(Workshop(Path(folder), args.seed), args.kills, args.only, earlier)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    sys.exit(any(not line.endswith('| 0 |') for line in text.splitlines()[4:]))


if __name__ == '__main__':
    main()
