"""The package's small model from a finished training: its weights in half precision, its figures, its card.

python scripts/starter.py finish FOLDER [--every 1]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks import starter
from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.console import GOOD, say
from dinoir_plugin.core.machine import processor
from dinoir_plugin.experiments.starter import PARTS, finished
from dinoir_plugin.restore.starter import CARD, FILE, NAME

MOST_BYTES = 12_000_000
STAMP = re.compile(r'^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ', re.MULTILINE)
TEXT = """# {name}: a small model for all kinds of bad photographs

NAFNet of {millions:.1f} million numbers without guidance, stored in half precision and computed in float32.

**Trained on** BSDS500's train and test photographs (378), Rain100L (51 pairs) and SOTS-indoor of RESIDE (72 hazy
images of 24 scenes), all of them for research use, and nine photographs of scikit-image. The noise (sigma 0 to 55),
JPEG (quality 10 to 90), Gaussian and motion blur and a part of the rain are made by formula; a part of the images is
clean. None of the test images, nor another image of their scenes, was among them.

**For how long**: {iterations} iterations, the last {tuned} of them with more JPEG and haze, of 8 patches of 64 px or
as many pixels, in {minutes:.0f} minutes on two cores of {cpu}, some of them beside other work; no GPU.{beginning}

**Not good for**: low light, which it has not seen; haze and rain outdoors, for which it has seen few scenes; blur by
shaken hands or moving things; faces and text that can no longer be made out, which it does not invent; medical or
forensic images, where nothing may change. It does not enlarge. `--strength` below 1 keeps a part of the image as it
was.

**Terms**: the code is Apache-2.0. The training images are for research use only: ask their owners before you use this
model for anything else.

## Figures

{figures}"""


BEGINNING = """

**It is a beginning**: it misses targets that were set for it (below). Where the result matters, give a network of your
own, `--checkpoint CKPT`."""


def finish(words: Sequence[str]) -> int:
    """Put the trained model into the package, measure it, and write its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder of the test sets')
    parser.add_argument('--every', type=int, default=1, help='measure each n-th image only')
    args = parser.parse_args(words)
    file = network_file.read(PARTS[-1].folder / 'models' / 'net_g_latest.pth')
    if file.description is None:
        raise ValueError('expected a checkpoint that says how its network is built')
    done = [finished(part) for part in PARTS]
    about = replace(file.description, name=NAME, iteration=sum(done))
    state = {name: value.half() for name, value in file.states['params_ema'].items()}
    FILE.parent.mkdir(exist_ok=True)
    network_file.write(FILE, network_file.NetworkFile({'params': state}, about))
    if FILE.stat().st_size > MOST_BYTES:
        raise ValueError(f'{FILE}: expected at most {MOST_BYTES} bytes, got {FILE.stat().st_size}')
    figures = starter.write(args.data, NAME, args.every)
    count = sum(value.numel() for value in state.values()) / 1e6
    beginning = BEGINNING if starter.MISSED in figures else ''
    card = TEXT.format(name=NAME, millions=count, iterations=sum(done), tuned=done[-1], minutes=minutes(),
                       cpu=processor(), figures=figures, beginning=beginning)  # fmt: skip
    write_atomic(CARD, card.encode())
    say(card)
    return GOOD


def minutes() -> float:
    """Add up how long the pieces of the training took, from the stamps of their logs."""
    total = 0.0
    for log in (log for part in PARTS for log in part.folder.glob('train_*.log')):
        stamps = [datetime.fromisoformat(stamp) for stamp in STAMP.findall(log.read_text())]
        total += (stamps[-1] - stamps[0]).total_seconds() if stamps else 0
    return total / 60
