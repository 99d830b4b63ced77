"""Check DINO-IR on one GPU: tests, short trainings, kill and resume, restoring, and the table of times.

    python scripts/gpu_check.py [FOLDER] [--out gpu_check.json] [--minutes 8] [--only WORD ...]

FOLDER holds images of any sizes, to be restored; without it that part is left out. Nothing is installed and nothing
is needed but the tree. Each part is a process of its own: one that fails is reported, and the others go on. What does
not fit into the time is left out and said to be; --only runs the parts whose names have one of the words. The table
comes last; JSON has everything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PART_LIMIT = 120  # seconds
# those that look at a device or a type; the rest of the suite runs on the CPU
TESTS = ['tests/models/test_step_graph.py', 'tests/models/test_training_step.py', 'tests/models/test_acceleration.py',
         'tests/nn', 'tests/methods/test_recorded_steps.py', 'tests/methods/dinoir/test_dr_fusion.py',
         'tests/preflight/test_step_time.py', 'tests/inference', 'tests/models/test_beside.py',
         'tests/restore/test_restorer.py']  # fmt: skip
PYTEST = [sys.executable, '-m', 'pytest', '-q', '--maxfail=20']
# the start-up line of an installed plugin
HOOK = 'from dinoir_plugin.plugin import autoload\nautoload.arm()\n'
TRAININGS: dict[str, dict[str, Any]] = {
    'fp32': {}, 'bf16': {'amp': 'bf16'}, 'fp16': {'amp': 'fp16'}, 'compiled': {'compile': True},
    'no graph': {'cuda_graph': 'off'},
}  # fmt: skip
TORCHRUN = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=1']


class Check:
    """Run parts one after the other within a time, and collect what they found.

    Args:
        minutes: For all of them.
        out: JSON file, written after each part.
        about: The machine.
        hook: Folder with the start-up file of the parts' Python, which knows the plugin from the tree alone.
        only: Words of which a part's name has to have one; none: all parts run.
    """

    def __init__(
        self, minutes: float, out: Path, about: dict[str, Any], hook: Path, only: Sequence[str] = ()
    ) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.found: dict[str, Any] = {}
        self._out, self._about, self._only = out, about, only
        (hook / 'sitecustomize.py').write_text(HOOK)
        self._env = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{hook}', 'PYTHONWARNINGS': 'ignore'}

    def start(self, command: list[str], cwd: Path = ROOT) -> subprocess.Popen[str]:
        """Start a program in a group of processes of its own."""
        return subprocess.Popen(command, cwd=cwd, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, start_new_session=True)  # fmt: skip

    def wants(self, name: str) -> bool:
        """Tell whether a part was asked for."""
        return not self._only or any(word in name for word in self._only)

    def part(self, name: str, command: list[str], cwd: Path = ROOT) -> str:
        """Run a part and give what it wrote; its last line, a failure or its absence goes into ``found``."""
        if not self.wants(name):
            return ''
        limit = min(self.end - time.monotonic(), PART_LIMIT)
        if limit < 10:
            return self._note(name, {'left out': 'no time'})
        start = time.monotonic()
        process = self.start(command, cwd)
        result: dict[str, Any] = {}
        try:
            written, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            end(process)
            written, said = process.communicate()
            result['failed'] = f'not done after {limit:.0f} s: {tail(written + said)}'
        result['s'] = round(time.monotonic() - start, 1)
        if process.returncode and not result.get('failed'):
            result['failed'] = f'status {process.returncode}: {tail(written + said)}'
        if not result.get('failed'):
            result['last line'] = tail(written.strip() or said, lines=1)
        self._note(name, result)
        return '' if result.get('failed') else written

    def _note(self, name: str, result: dict[str, Any]) -> str:
        self.found[name] = result
        self.say(name)
        self.write()
        return ''

    @contextlib.contextmanager
    def surviving(self, name: str) -> Iterator[None]:
        """Note an error of this script itself as the failure of a part, and go on behind it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the other parts are still to be seen
            self.found.setdefault(name, {})['failed'] = f'{type(error).__name__}: {error}'
            self.say(name)
            self.write()

    def write(self) -> None:
        """Write what was found so far."""
        self._out.write_text(json.dumps({'about': self._about, 'parts': self.found}, indent=1) + '\n')

    def say(self, name: str) -> None:
        """Show what a part found, while the others run."""
        sys.stdout.write(f'{name}: {json.dumps(self.found[name])}\n')
        sys.stdout.flush()


def tail(text: str, lines: int = 6) -> str:
    """Give the last lines of what a program wrote, in one line."""
    return ' | '.join(text.strip().splitlines()[-lines:])[-800:]


def end(process: subprocess.Popen[str]) -> None:
    """End a program and what it started, which would keep its output open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def write_project(folder: Path, images: Path, **train: Any) -> None:
    """Write the options file of a tiny guided training on photographs."""
    from dinoir_plugin.testing.project import TINY_NETWORK, Project

    folder.mkdir()
    project = Project(folder, images, TINY_NETWORK)
    project.train.update(total_iter=40, **train)
    project.options['logger'].update(print_freq=10, save_checkpoint_freq=10)
    (folder / 'options.yml').write_text(yaml.safe_dump(project.options))


def trainings(check: Check, place: Path) -> None:
    """Train a tiny network in each way by BasicSR's trainer."""
    from dinoir_plugin.testing.project import TRAINER, make_images

    images = make_images(place / 'images')
    command = [sys.executable, *TRAINER, '-opt', 'options.yml']
    for name, train in TRAININGS.items():
        folder = place / name.replace(' ', '_')
        write_project(folder, images, **train)
        check.part(f'training, {name}', command, folder)
    write_project(place / 'nccl', images)
    ranks = [sys.executable, *TORCHRUN, *TRAINER, '-opt', 'options.yml', '--launcher', 'pytorch']
    check.part('training, one rank over NCCL', ranks, place / 'nccl')
    said = check.part('estimate', [sys.executable, '-m', 'dinoir_plugin', 'check', 'options.yml'], place / 'fp32')
    if said:
        row = next((line for line in said.splitlines() if line.startswith('time ')), 'no row')
        check.found['estimate']['time'] = row
    if check.wants('going on after a kill'):
        kill_and_go_on(check, place, images, command)


def kill_and_go_on(check: Check, place: Path, images: Path, command: list[str]) -> None:
    """Kill a run behind its first checkpoint, go on with it, and hold it against the one that was not killed."""
    folder = place / 'killed'
    write_project(folder, images)
    process = check.start(command, folder)
    latest = min(time.monotonic() + PART_LIMIT, check.end)
    while process.poll() is None and not list(folder.glob('experiments/*/training_states/10.state')):
        if time.monotonic() > latest:
            break
        time.sleep(0.1)
    end(process)
    process.communicate()
    check.part('going on after a kill', [*command, '--auto_resume'], folder)
    check.found['going on after a kill']['largest difference of a weight'] = difference(place / 'fp32', folder)


def difference(one: Path, other: Path) -> float | str:
    """Give the largest difference between the last networks of two runs."""
    import torch

    files = [folder / 'experiments' / 'tiny' / 'models' / 'net_g_40.pth' for folder in (one, other)]
    if not all(file.is_file() for file in files):
        return 'a run left no network'
    first, second = (torch.load(file, map_location='cpu', weights_only=True)['params'] for file in files)
    return max(float((first[key] - second[key]).abs().max()) for key in first)


def measure(check: Check, rows: Iterable[str]) -> None:
    """Measure rows of the table, each in a process of its own."""
    for row in rows:
        written = check.part(row, [sys.executable, '-m', 'benchmarks.gpu', row])
        if written:
            with check.surviving(row):
                check.found[row].update(json.loads(written.strip().splitlines()[-1]))
            check.write()


def main() -> int:
    """Run all parts, then show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?')
    parser.add_argument('--out', default='gpu_check.json')
    parser.add_argument('--minutes', type=float, default=8)
    parser.add_argument('--only', nargs='+', default=(), metavar='WORD')
    args = parser.parse_args()
    import torch

    from benchmarks.gpu import ROWS
    from dinoir_plugin.core.machine import machine
    from dinoir_plugin.core.markdown import table

    if not torch.cuda.is_available():
        sys.stderr.write('expected a GPU that torch can use, found none\n')
        return 1
    about = {**machine(), 'gpu': torch.cuda.get_device_name(), 'cuda': str(torch.version.cuda)}
    with tempfile.TemporaryDirectory() as place:
        check = Check(args.minutes, Path(args.out).resolve(), about, Path(place), args.only)
        check.part('tests that need a GPU', [*PYTEST, '-m', 'gpu', *TESTS])
        slow = [row for row in ROWS if 'compiled' in row]
        measure(check, [row for row in ROWS if row not in slow])
        with check.surviving('trainings'):
            trainings(check, Path(place))
        if args.folder:
            network = f'{place}/bf16/experiments/tiny/models/net_g_latest.pth'
            command = ['restore', str(Path(args.folder).resolve()), f'{place}/restored/', '--checkpoint', network]
            check.part('restoring', [sys.executable, '-m', 'dinoir_plugin', *command, '--quiet'])
        check.part('other tests', [*PYTEST, '-m', 'not gpu', *TESTS])
        measure(check, slow)
        check.write()
    numbers = {row: {key: value for key, value in check.found[row].items() if key not in ('s', 'last line')}
               for row in ROWS if row in check.found}  # fmt: skip
    rows = [[row, ', '.join(f'{key} {value}' for key, value in found.items())] for row, found in numbers.items()]
    sys.stdout.write(f'\n{", ".join(f"{key} {value}" for key, value in about.items())}\n\n')
    sys.stdout.write(table(['work', 'found'], rows) + '\n')
    return int(any('failed' in found for found in check.found.values()))


if __name__ == '__main__':
    sys.exit(main())
