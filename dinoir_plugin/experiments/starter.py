"""Make the images that the package's small model learns from, and train it in pieces.

    python -m dinoir_plugin.experiments.starter pack FOLDER     the training parts of FOLDER into datasets/starter/
    python -m dinoir_plugin.experiments.starter train           the next pieces, by the files in options/starter/
    python -m dinoir_plugin.experiments.starter example FILE    a photograph with noise, before and after, as a JPEG

A piece is a run of BasicSR's own trainer that is asked to stop after some minutes and saves its iteration; the next one
goes on from there. At each joint the weights that a piece ended with have to be those that the next one began with.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from skimage import data

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.console import BAD, GOOD, note, say
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.quickstart import TRAINING, write
from dinoir_plugin.experiments.variants import read_yaml
from dinoir_plugin.imaging.decoding import Array
from dinoir_plugin.imaging.image_file import DecodedImage
from dinoir_plugin.models.step_checks import REQUEUE
from dinoir_plugin.restore.comparison import comparison
from dinoir_plugin.restore.restorer import Restorer

IMAGES = Path('datasets/starter')
SIDE = 160  # least side of a piece: a patch costs the decoding of its whole file
QUALITY = 93  # of JPEGs without reduced colour
EXAMPLE_NOISE = 25
MOST_BYTES = 50_000_000
PIECE_MINUTES = 8.0


class Part(NamedTuple):
    """Hold one of the trainings, each of which begins with the weights of the one before.

    Attributes:
        name: Of the run, and so of its folder.
        options: Name of its options file.
        ranks: Processes that share a batch, of one thread each where there are several, which is the faster way.
    """

    name: str
    options: str
    ranks: int

    @property
    def folder(self) -> Path:
        """Give the folder of its checkpoints."""
        return Path('experiments', self.name)


PARTS = (Part('starter', 'starter/train_starter', 1), Part('starter_tuned', 'starter/tune_starter', 2))

FOLDERS = {
    'bsd400': 'photos',
    'rain100l/train/clean': 'rain/clean',
    'rain100l/train/rain': 'rain/rain',
    'sots_indoor/train/clear': 'haze/clear',
    'sots_indoor/train/hazy': 'haze/hazy',
}


def main() -> int:
    """Run one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest='step', required=True)
    packing = steps.add_parser('pack', help='make the training images')
    packing.add_argument('data', type=Path, help='the folder with ' + ', '.join(FOLDERS))
    training = steps.add_parser('train', help='train on from where the last piece ended')
    training.add_argument('--minutes', type=float, default=PIECE_MINUTES, help='of a piece')
    training.add_argument('--iters', type=int, help="of each part, instead of its file's total_iter and schedule")
    training.add_argument('--force', nargs='+', default=[], metavar='KEY=VALUE', help="as the trainer's --force_yml")
    showing = steps.add_parser('example', help='restore a photograph of scikit-image with noise')
    showing.add_argument('out', type=Path, help='where before and after are written, side by side')
    words = parser.parse_args()
    if words.step == 'example':
        return example(words.out)
    return pack(words.data) if words.step == 'pack' else train(words.minutes, words.iters, words.force)


def example(out: Path) -> int:
    """Restore a noisy photograph that it was not trained on; write before and after as one JPEG."""
    clean = data.astronaut()[:400]
    noise = np.random.default_rng(0).normal(0, EXAMPLE_NOISE, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    restored = Restorer.from_checkpoint().restore(noisy)
    write_atomic(out, comparison(DecodedImage(noisy), DecodedImage(restored)))
    say(f'{out}: a photograph with noise of sigma {EXAMPLE_NOISE}, {cv2.PSNR(clean, noisy):.2f} dB before and '
        f'{cv2.PSNR(clean, restored):.2f} dB after')  # fmt: skip
    return GOOD


def pack(folder: Path) -> int:
    """Write the images in pieces; the exit status says whether they are small enough to travel."""
    for source, target in FOLDERS.items():
        files = sorted((folder / source).iterdir())
        for file in files:
            image = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if image is None:
                raise OSError(f'{file} is no image')
            name, *kind = file.stem.split('_')
            for number, piece in enumerate(pieces(image)):
                write_jpeg(IMAGES / target / f'{"_".join([f"{name}p{number}", *kind])}.jpg', piece)
        say(f'{IMAGES / target}: {len(files)} images in pieces')
    for name in TRAINING:
        for number, piece in enumerate(pieces(getattr(data, name)())):
            write(IMAGES / 'photos' / f'{name.split("_")[0]}p{number}.png', piece)
    size = sum(file.stat().st_size for file in IMAGES.rglob('*.*'))
    say(f'{IMAGES}: {size / 1e6:.1f} MB, with {len(TRAINING)} photographs of scikit-image')
    if size > MOST_BYTES:
        note(f'FAILED: expected at most {MOST_BYTES / 1e6:.0f} MB')
    return BAD if size > MOST_BYTES else GOOD


def pieces(image: Array) -> list[Array]:
    """Cut an image (H, W) or (H, W, C) into equal pieces whose sides are at least SIDE."""
    rows, columns = (max(1, side // SIDE) for side in image.shape[:2])
    height, width = image.shape[0] // rows, image.shape[1] // columns
    return [
        image[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(rows)
        for column in range(columns)
    ]


def write_jpeg(path: Path, image: Array) -> None:
    """Write a uint8 image, BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *full_colour]):
        raise OSError(f'cannot write {path}')


def train(minutes: float, iters: int | None, forced: Sequence[str] = ()) -> int:
    """Train piece by piece to the end of all parts; asked to stop, stop after the iteration, as the trainer does.

    Args:
        minutes: Length of a piece.
        iters: Of each part, instead of its options file's total_iter, and of the schedule of the learning rate.
        forced: Further options, as the trainer takes them behind ``--force_yml``.

    Returns:
        The exit status.
    """
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda received, frame: asked.append(received))
    for part in PARTS:
        total = iters or read_yaml(options_file(part.options))['train']['total_iter']
        status = trained(part, total, minutes, forced, asked)
        if status != GOOD:
            return status
    return GOOD


def trained(part: Part, total: int, minutes: float, forced: Sequence[str], asked: list[int]) -> int:
    """Train one part to its end, or until a signal is in ``asked``; return the exit status."""
    while not asked:
        if finished(part) >= total:
            say(f'{part.folder}: {finished(part)} iterations, done')
            return GOOD
        reached = newest(part)
        if reached:
            check_joint(part, reached, forced)
        status = piece(trainer(part, total, forced), minutes, asked)
        if status not in (0, REQUEUE):
            note(f'FAILED: the trainer ended with status {status}; its output is in {part.folder}.log')
            return BAD
        if status == REQUEUE:
            say(f'{part.folder}: {newest(part)} of {total} iterations')
    return REQUEUE


def piece(ranks: list[subprocess.Popen[bytes]], minutes: float, asked: list[int]) -> int:
    """Let the trainer run for some minutes, or until a signal was received; return its exit status."""
    left = minutes * 60
    while left > 0 and not asked and all(rank.poll() is None for rank in ranks):
        try:
            ranks[0].wait(min(left, 1))
        except subprocess.TimeoutExpired:
            left -= 1
    for rank in ranks:
        if rank.poll() is None:
            rank.send_signal(signal.SIGTERM)
    return ended(ranks)


def ended(ranks: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all ranks; return 0, or the exit status of one that did not end with it."""
    return max((rank.wait() for rank in ranks), key=abs)


def check_joint(part: Part, reached: int, forced: Sequence[str]) -> None:
    """Let a run that goes on from an iteration end there: it has to write the weights that were saved.

    Raises:
        RunError: It writes others.
    """
    status = ended(trainer(part, reached, forced))
    saved, resumed = (part.folder / 'models' / f'net_g_{name}.pth' for name in (reached, 'latest'))
    if status or digest(saved) != digest(resumed):
        raise RunError(f'{saved} has not the weights that a run goes on from (status {status}, {part.folder}.log)')
    say(f'{part.folder}: goes on from the weights saved at iteration {reached}')


def trainer(part: Part, total: int, forced: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Start the trainer's ranks, which go on from the newest checkpoint; their output is added to a file."""
    schedule = f'train:scheduler:periods=[{total}]'
    words = ['-m', 'basicsr.train', '-opt', str(options_file(part.options)), '--auto_resume']
    if part.ranks > 1:
        words += ['--launcher', 'pytorch']
    words += ['--force_yml', f'train:total_iter={total}', schedule, *forced]
    part.folder.parent.mkdir(exist_ok=True)
    # threads that wait without sleeping take ten times as long where other programs need the cores
    ours = {**os.environ, 'OMP_WAIT_POLICY': 'PASSIVE'}
    with part.folder.with_suffix('.log').open('ab') as log:
        return [
            subprocess.Popen([sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, env={**ours, **more})
            for more in environments(part.ranks)
        ]


def environments(ranks: int) -> list[dict[str, str]]:
    """Give what each rank has to know of the others, as torchrun gives it; one rank alone knows nothing."""
    if ranks == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    shared = {'WORLD_SIZE': str(ranks), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'OMP_NUM_THREADS': '1'}
    return [{**shared, 'RANK': str(rank), 'LOCAL_RANK': str(rank)} for rank in range(ranks)]


def finished(part: Part) -> int:
    """Give the iterations of the network that a run ended with; 0 where none has."""
    file = part.folder / 'models' / 'net_g_latest.pth'
    about = network_file.read(file).description if file.is_file() else None
    return about.iteration or 0 if about else 0


def newest(part: Part) -> int:
    """Give the iteration of the newest training state; 0 before the first."""
    states = (part.folder / 'training_states').glob('*.state')
    return max((int(state.stem) for state in states if state.stem.isdigit()), default=0)


def digest(path: Path) -> str:
    """Give a fingerprint of a checkpoint's weights, also of their average."""
    found = hashlib.sha256()
    states = network_file.read(path).states
    for key in sorted(states):
        for name, weight in states[key].items():
            found.update(name.encode() + weight.numpy().tobytes())
    return found.hexdigest()


if __name__ == '__main__':
    sys.exit(main())
