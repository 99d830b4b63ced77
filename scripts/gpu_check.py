"""Check DINO-IR on one GPU: tests, short trainings, kill and resume, restoring, and the table of times.

    python scripts/gpu_check.py [FOLDER] [--out gpu_check.json] [--minutes 8]

FOLDER holds images of any sizes, to be restored; without it that part is left out. Nothing is installed and nothing
is needed but the tree. Each part is a process of its own: one that fails is reported, and the others go on. What does
not fit into the time is left out and said to be. The table comes last; JSON has everything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PART_LIMIT = 150  # seconds
# those that look at a device or a type; the rest of the suite runs on the CPU
TESTS = ['tests/models/test_step_graph.py', 'tests/models/test_training_step.py', 'tests/models/test_acceleration.py',
         'tests/nn', 'tests/methods/dinoir/test_dr_fusion.py', 'tests/preflight/test_step_time.py']  # fmt: skip
TRAININGS: dict[str, dict[str, Any]] = {
    'fp32': {}, 'bf16': {'amp': 'bf16'}, 'fp16': {'amp': 'fp16'}, 'compiled': {'compile': True},
    'no graph': {'cuda_graph': 'off'},
}  # fmt: skip


class Check:
    """Run parts one after the other within a time, and collect what they found.

    Args:
        minutes: For all of them.
    """

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.found: dict[str, Any] = {}

    def part(self, name: str, command: list[str], cwd: Path = ROOT) -> str:
        """Run a part and give what it wrote; its first or last line, a failure or its absence goes into ``found``."""
        left = self.end - time.monotonic()
        if left < 10:
            self.found[name] = {'left out': 'no time'}
            return ''
        start = time.monotonic()
        env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'}
        try:
            done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False,
                                  timeout=min(left, PART_LIMIT))  # fmt: skip
        except subprocess.TimeoutExpired:
            self.found[name] = {'failed': f'not done after {min(left, PART_LIMIT):.0f} s'}
            return ''
        text = done.stdout + done.stderr
        last = (done.stdout.strip() or text.strip()).splitlines()[-1:] or ['']
        result: dict[str, Any] = {'s': round(time.monotonic() - start, 1)}
        if done.returncode:
            result['failed'] = f'status {done.returncode}: {" | ".join(text.strip().splitlines()[-4:])[-600:]}'
        else:
            result['last line'] = last[0][-300:]
        self.found[name] = result
        self.say(name)
        return done.stdout if not done.returncode else ''

    def say(self, name: str) -> None:
        """Show what a part found, while the others run."""
        sys.stdout.write(f'{name}: {json.dumps(self.found[name])}\n')
        sys.stdout.flush()


def write_project(folder: Path, images: Path, **train: Any) -> None:
    """Write the options file of a tiny guided training on photographs."""
    from dinoir_plugin.testing.project import TINY_NETWORK, Project

    folder.mkdir()
    project = Project(folder, images, TINY_NETWORK)
    project.train.update(total_iter=40, **train)
    project.options['logger'].update(print_freq=10, save_checkpoint_freq=10)
    (folder / 'options.yml').write_text(yaml.safe_dump(project.options))


def trainings(check: Check, place: Path) -> None:
    """Train a tiny network in each way by BasicSR's trainer; kill one run and go on with it."""
    from dinoir_plugin.testing.project import TRAINER, make_images

    images = make_images(place / 'images')
    command = [sys.executable, *TRAINER, '-opt', 'options.yml']
    for name, train in TRAININGS.items():
        folder = place / name.replace(' ', '_')
        write_project(folder, images, **train)
        check.part(f'training, {name}', command, folder)
    said = check.part('estimate', [sys.executable, '-m', 'dinoir_plugin', 'check', 'options.yml'], place / 'fp32')
    check.found['estimate']['time'] = next((line for line in said.splitlines() if line.startswith('time ')), 'no row')
    folder = place / 'killed'
    write_project(folder, images)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(folder.glob('experiments/*/training_states/10.state')):
        time.sleep(0.1)
    process.kill()
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


def main() -> int:
    """Run all parts, then show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?')
    parser.add_argument('--out', default='gpu_check.json')
    parser.add_argument('--minutes', type=float, default=8)
    args = parser.parse_args()
    check = Check(args.minutes)
    import torch

    from benchmarks.gpu import ROWS
    from dinoir_plugin.core.machine import machine
    from dinoir_plugin.core.markdown import table

    if not torch.cuda.is_available():
        sys.stderr.write('expected a GPU that torch can use, found none\n')
        return 1
    about = {**machine(), 'gpu': torch.cuda.get_device_name(), 'cuda': str(torch.version.cuda)}
    for row in ROWS:
        written = check.part(row, [sys.executable, '-m', 'benchmarks.gpu', row])
        if written:
            check.found[row].update(json.loads(written.strip().splitlines()[-1]))
    check.part('tests', [sys.executable, '-m', 'pytest', '-q', '-x', '--maxfail=20', *TESTS])
    with tempfile.TemporaryDirectory() as place:
        trainings(check, Path(place))
        if args.folder:
            network = f'{place}/bf16/experiments/tiny/models/net_g_latest.pth'
            command = ['restore', args.folder, f'{place}/restored/', '--checkpoint', network]
            check.part('restoring', [sys.executable, '-m', 'dinoir_plugin', *command])
    Path(args.out).write_text(json.dumps({'about': about, 'parts': check.found}, indent=1) + '\n')
    numbers = {row: {key: value for key, value in check.found[row].items() if key not in ('s', 'last line')}
               for row in ROWS}  # fmt: skip
    rows = [[row, ', '.join(f'{key} {value}' for key, value in found.items())] for row, found in numbers.items()]
    sys.stdout.write(f'\n{", ".join(f"{key} {value}" for key, value in about.items())}\n\n')
    sys.stdout.write(table(['work', 'found'], rows) + '\n')
    return int(any('failed' in found for found in check.found.values()))


if __name__ == '__main__':
    sys.exit(main())
