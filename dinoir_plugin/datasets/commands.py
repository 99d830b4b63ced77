"""The command ``dinoir prepare``. What it needs is imported when it runs."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.console import BAD, GOOD, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.datasets.catalogue import CATALOGUE, DataSet
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.recipe import ENCODINGS, Choice, Recipe
from dinoir_plugin.imaging.paths import written_path

if TYPE_CHECKING:
    from dinoir_plugin.datasets.prepare import Prepared

HEADINGS = ('set', 'split', 'role', 'images', 'sub-images', 'MB', 'root')
DESCRIPTION = """Make training roots (LMDB) from the releases of data sets.

    dinoir prepare rain100l ~/Downloads/RainTrainL.zip ~/Downloads/Rain100L.zip
    dinoir prepare gopro ~/Downloads/GOPRO_Large.zip --sub-images 512 256 --encoding png
    dinoir prepare ots ~/Downloads/OTS.zip --choose 4000
    dinoir prepare protocol aio3

An interrupted run goes on with the same command. Where the data sets come from: datasets/README.md
"""


def add_prepare(commands: Any) -> None:
    """Describe ``dinoir prepare``: a word for each data set, and one for protocols."""
    parser = commands.add_parser(
        'prepare', help='make training roots (LMDB) from the releases of data sets', description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(failure=BAD, stopped='stopped; the same command goes on from here')
    sets = parser.add_subparsers(required=True, metavar='SET')
    for dataset in CATALOGUE.values():
        _add_options(sets.add_parser(dataset.name, help=dataset.title, description=_describe(dataset)), dataset)
    protocol = sets.add_parser('protocol', help='print the tasks of a training protocol, ready to paste')
    protocol.add_argument('protocol', type=_protocol, metavar='NAME', help='for instance aio3')
    protocol.add_argument('--out', type=written_path, default=Path('datasets'), help='folder of all data sets')
    protocol.set_defaults(run=_print_protocol)


def _describe(dataset: DataSet) -> str:
    counts = '; '.join(f'{split.name} {" + ".join(map(str, split.counts))}' for split in dataset.splits if split.counts)
    return (f'{dataset.title}. From {dataset.origin} ({dataset.terms}). Images ({", ".join(dataset.roles)}): '
            f'{counts}. Not checked: {dataset.unchecked}.')


def _add_options(parser: argparse.ArgumentParser, dataset: DataSet) -> None:
    parser.add_argument('source', type=written_path, nargs='+',
                        help='archive (.zip .tar .tar.gz .tgz) or folder of the release; all its parts at once')
    parser.add_argument('--out', type=written_path, default=Path('datasets'), help='folder of all data sets')
    parser.add_argument('--sub-images', type=int, nargs=2, metavar=('SIZE', 'STEP'),
                        help='cut images into overlapping squares, for instance 256 192; default: whole images')
    parser.add_argument('--encoding', choices=ENCODINGS, default=ENCODINGS[0],
                        help='bmp (default) decodes many times faster; png is smaller, and takes 16 bits')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='default: one for each core')
    parser.add_argument('--partial', action='store_true', help='accept a release that is not complete')
    parser.add_argument('--choose', type=int, metavar='N',
                        help='take N images of the training set, drawn by --seed; their number and seed are in the '
                             "root's name")
    parser.add_argument('--seed', type=int, default=0, help='of --choose (default: 0)')
    parser.set_defaults(run=_prepare, dataset=dataset, parser=parser)


def _protocol(name: str) -> Any:
    from dinoir_plugin.datasets.protocols import PROTOCOLS

    if name not in PROTOCOLS:
        raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _print_protocol(args: argparse.Namespace) -> int:
    from dinoir_plugin.datasets.protocols import fragment

    say(fragment(args.protocol, args.out).rstrip('\n'))
    return GOOD


def _prepare(args: argparse.Namespace) -> int:
    recipe = Recipe(args.encoding, _sub_images(args))
    if args.workers < 1:
        args.parser.error(f'--workers: expected 1 or more, got {args.workers}')
    if (args.choose is not None and args.choose < 1) or args.seed < 0:
        args.parser.error(f'--choose: expected 1 or more and a --seed from 0, got {args.choose} and {args.seed}')
    choice = None if args.choose is None else Choice(args.choose, args.seed)
    import lmdb

    from dinoir_plugin.datasets.prepare import Request, prepare

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    try:
        request = Request(args.source, args.out, recipe, args.workers, args.partial, choice=choice)
        roots = prepare(args.dataset, request)
    except lmdb.Error as error:
        raise PreparationError(str(error)) from error
    say(_table(roots))
    return GOOD


def _sub_images(args: argparse.Namespace) -> tuple[int, int] | None:
    if args.sub_images is None:
        return None
    size, step = args.sub_images
    if size < 1 or not 1 <= step <= size:
        args.parser.error(f'--sub-images: expected a size and a step from 1 to the size, got {size} {step}')
    return size, step


def _table(roots: Sequence[Prepared]) -> str:
    """Write a line for every root; sets that share a root each have one, with the size of the whole root."""
    lines = [HEADINGS]
    for root in roots:
        pieces = '-' if root.sub_images is None else str(root.sub_images)
        lines.append((root.dataset, root.split, root.role, str(root.images), pieces, f'{root.size / 1e6:.1f}',
                      str(root.root)))
    return columns(lines)
