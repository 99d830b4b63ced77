"""Make training roots (LMDB) from the releases of data sets.

    python scripts/prepare_data.py rain100l ~/Downloads/RainTrainL.zip ~/Downloads/Rain100L.zip
    python scripts/prepare_data.py gopro ~/Downloads/GOPRO_Large.zip --sub-images 512 256 --encoding png
    python scripts/prepare_data.py protocol aio3

An interrupted run goes on with the same command. Where the data sets come from: datasets/README.md
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import lmdb

from dinoir_plugin.datasets.catalogue import CATALOGUE, DataSet
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.image_files import ENCODINGS, Recipe
from dinoir_plugin.datasets.prepare import Prepared, Request, prepare
from dinoir_plugin.datasets.protocols import PROTOCOLS, fragment

HEADINGS = ('set', 'split', 'role', 'images', 'sub-images', 'MB', 'root')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; the exit status is 1 where something has to be mended first."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    try:
        if chosen.command == 'protocol':
            print(fragment(PROTOCOLS[chosen.name], chosen.out), end='')
        else:
            print_table(prepare(CATALOGUE[chosen.command], read_request(parser, chosen)))
    except (PreparationError, OSError, lmdb.Error) as error:
        print(f'ERROR: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('Interrupted: the same command goes on.', file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """One sub-command for every data set, and one for protocols."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True, metavar='SET')
    for dataset in CATALOGUE.values():
        add_options(commands.add_parser(dataset.name, help=dataset.title, description=description(dataset)))
    protocol = commands.add_parser('protocol', help='print the tasks of a training protocol, ready to paste')
    protocol.add_argument('name', choices=PROTOCOLS)
    protocol.add_argument('--out', type=Path, default=Path('datasets'), help='folder of all data sets')
    return parser


def description(dataset: DataSet) -> str:
    """What a sub-command's help says of its data set."""
    counts = '; '.join(f'{split.name} {" + ".join(map(str, split.counts))}' for split in dataset.splits if split.counts)
    return (f'{dataset.title}. From {dataset.origin} ({dataset.terms}). Images ({", ".join(dataset.roles)}): '
            f'{counts}. Not checked: {dataset.unchecked}.')


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that all data sets share."""
    parser.add_argument('source', type=Path, nargs='+',
                        help='archive (.zip .tar .tar.gz .tgz) or folder of the release; all its parts at once')
    parser.add_argument('--out', type=Path, default=Path('datasets'), help='folder of all data sets')
    parser.add_argument('--sub-images', type=int, nargs=2, metavar=('SIZE', 'STEP'),
                        help='cut images into overlapping squares, for instance 256 192; default: whole images')
    parser.add_argument('--encoding', choices=ENCODINGS, default=ENCODINGS[0],
                        help='bmp (default) decodes many times faster; png is smaller, and takes 16 bits')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='default: one for each core')
    parser.add_argument('--partial', action='store_true', help='accept a release that is not complete')


def read_request(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> Request:
    """The parsed options, checked."""
    if chosen.workers < 1:
        parser.error(f'--workers: expected 1 or more, got {chosen.workers}')
    pieces = None
    if chosen.sub_images is not None:
        size, step = chosen.sub_images
        if size < 1 or not 1 <= step <= size:
            parser.error(f'--sub-images: expected a size and a step from 1 to the size, got {size} {step}')
        pieces = size, step
    recipe = Recipe(chosen.encoding, pieces)
    return Request(chosen.source, chosen.out, recipe, chosen.workers, chosen.partial)


def print_table(rows: Sequence[Prepared]) -> None:
    """One line for every root; sets that share a root each have a line, with the size of the whole root."""
    lines = [HEADINGS]
    for row in rows:
        pieces = '-' if row.sub_images is None else str(row.sub_images)
        lines.append((row.dataset, row.split, row.role, str(row.images), pieces, f'{row.size / 1e6:.1f}',
                      str(row.root)))
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print('  '.join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


if __name__ == '__main__':
    sys.exit(main())
