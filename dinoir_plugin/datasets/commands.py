"""The command ``dinoir prepare``. What it needs is imported when it runs."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.console import BAD, GOOD, say
from dinoir_plugin.core.markdown import columns
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.description import DataSet
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.recipe import ENCODINGS, Choice, Recipe
from dinoir_plugin.imaging.paths import written_path

if TYPE_CHECKING:
    from dinoir_plugin.datasets.prepare import Prepared, Request

PAIRINGS = ('name', 'reside')  # of a task's options
HEADINGS = ('set', 'split', 'role', 'images', 'sub-images', 'MB', 'root')
DESCRIPTION = """Make training roots (LMDB) from the releases of data sets, or from your own images.

    dinoir prepare rain100l ~/Downloads/RainTrainL.zip ~/Downloads/Rain100L.zip
    dinoir prepare gopro ~/Downloads/GOPRO_Large.zip --sub-images 512 256 --encoding png
    dinoir prepare ots ~/Downloads/OTS.zip --choose 4000
    dinoir prepare pairs my/rainy my/clean --out datasets/rain --val 20
    dinoir prepare photos my/photos --out datasets/photos
    dinoir prepare captions options/daclip/train_stage1.yml --out datasets/daclip_train.csv
    dinoir prepare folds options/perceive_ir/folds.yml --scene 'deblur=(.+)/' --out datasets/perceive_ir/folds
    dinoir prepare protocol aio3

An interrupted run goes on with the same command. Where the data sets come from: datasets/README.md
"""


def add_prepare(commands: Any) -> None:
    """Describe ``dinoir prepare``: a word for each data set, two for own images, and one for protocols."""
    parser = commands.add_parser(
        'prepare', help='make training roots (LMDB) from data sets or your own images', description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(failure=BAD, stopped='stopped; the same command goes on from here')
    sets = parser.add_subparsers(required=True, metavar='SET')
    for dataset in CATALOGUE.values():
        _add_options(sets.add_parser(dataset.name, help=dataset.title, description=_describe(dataset)), dataset)
    pairs = sets.add_parser('pairs', help='your own degraded and clean images, in two folders')
    pairs.add_argument('source', type=written_path, nargs=2, metavar=('DEGRADED', 'CLEAN'), help='the two folders')
    pairs.add_argument('--pairing', choices=PAIRINGS, default='name',
                       help="name (default); reside: 12_3.png belongs to 12.png, as a task's pairing")
    pairs.add_argument('--filename-tmpl', metavar='TEXT',
                       help="name of the degraded image, with {} for that of the clean one, as a task's filename_tmpl")
    _add_own_options(pairs)
    photos = sets.add_parser('photos', help='your own photographs, in one folder')
    photos.add_argument('source', type=written_path, nargs=1, metavar='FOLDER', help='the folder')
    photos.set_defaults(pairing='name', filename_tmpl=None)
    _add_own_options(photos)
    _add_captions(sets)
    _add_folds(sets)
    protocol = sets.add_parser('protocol', help='print tasks, tests and metrics of a protocol, ready to paste')
    protocol.add_argument('protocol', type=_protocol, metavar='NAME', help='for instance aio3')
    protocol.add_argument('--out', type=written_path, default=Path('datasets'), help='folder of all data sets')
    protocol.set_defaults(run=_print_protocol)


def _add_captions(sets: Any) -> None:
    parser = sets.add_parser('captions', help='captions of clean images by BLIP, as a table for datasets.*.captions')
    parser.add_argument('source', type=written_path, metavar='FILE.yml|FOLDER',
                        help="a training's options file; or a folder for each word, with GT (clean) and LQ (degraded; "
                             'left out where it is made) in it; or images, which are taken for each of --words')
    parser.add_argument('--out', type=written_path, required=True, metavar='FILE.csv',
                        help='the table; captions that it has already are kept')
    parser.add_argument('--words', nargs='+', default=(), metavar='WORD',
                        help="the tasks' names; default: all tasks of the file, or all that have a folder")
    parser.add_argument('--model', metavar='NAME', help='a BLIP on the hub, or its folder; default: the large one')
    parser.set_defaults(run=_write_captions)


def _write_captions(args: argparse.Namespace) -> int:
    from functools import partial

    from dinoir_plugin.datasets.captioning import MODEL, blip, caption, wanted_in

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    wanted = wanted_in(args.source, args.words)
    new, lines = caption(wanted, args.out, partial(blip, args.model or MODEL))
    say(f'{args.out}: {lines} lines, {new} images captioned now')
    return GOOD


def _add_folds(sets: Any) -> None:
    parser = sets.add_parser('folds', help='lists by which networks restore images that they were not trained on')
    parser.add_argument('source', type=written_path, metavar='OPTIONS.yml',
                        help='a training with tasks, which is made once for each fold, without its images')
    parser.add_argument('--out', type=written_path, required=True, metavar='FOLDER', help='of the lists')
    parser.add_argument('--folds', type=int, default=2, metavar='N', help='default: 2')
    parser.add_argument('--by', choices=['scene', 'release'], default='scene',
                        help="scene (default): folds of one size, with scenes whole; release: by a hash of each path, "
                             "as in Perceive-IR's code, which parts the versions of a scene")
    parser.add_argument('--scene', action='append', default=[], metavar='TASK=PATTERN',
                        help="what of clean images' names is their scene, as a group: 'deblur=(.+)/' for clips of "
                             'GoPro; default: the whole name')
    parser.add_argument('--heldout', type=float, default=0.1, metavar='SHARE',
                        help='share of the scenes in the lists heldout/, for validation (default: 0.1; 0: no lists)')
    parser.add_argument('--heldout-images', type=int, default=100, metavar='N',
                        help='images of a task in them, at most (default: 100)')
    parser.add_argument('--seed', type=int, default=0, help='of the order in which scenes are dealt out (default: 0)')
    parser.set_defaults(run=_write_folds, parser=parser)


def _write_folds(args: argparse.Namespace) -> int:
    from dinoir_plugin.datasets.folds import Request, make_folds

    if not all('=' in text for text in args.scene):
        args.parser.error(f'--scene: expected TASK=PATTERN, got {" ".join(args.scene)}')
    scenes = dict(text.split('=', 1) for text in args.scene)
    request = Request(args.folds, args.by, scenes, args.heldout, args.heldout_images, args.seed)
    counts = make_folds(args.source, args.out, request)
    heads = ('task', *(f'fold {fold}' for fold in range(args.folds)), 'held out')
    say(columns([heads, *((task, *map(str, sizes)) for task, sizes in counts.items())]))
    say(f'\nLists in {args.out}; train the network of each fold, e.g. python -m basicsr.train -opt '
        f'{args.out}/without0.yml')
    return GOOD


def _describe(dataset: DataSet) -> str:
    counts = '; '.join(f'{split.name} {" + ".join(map(str, split.counts))}' for split in dataset.splits if split.counts)
    return (f'{dataset.title}. From {dataset.origin} ({dataset.terms}). Images ({", ".join(dataset.roles)}): '
            f'{counts}. Not checked: {dataset.unchecked}.')


def _add_options(parser: argparse.ArgumentParser, dataset: DataSet) -> None:
    parser.add_argument('source', type=written_path, nargs='+',
                        help='archive (.zip .tar .tar.gz .tgz) or folder of the release; all its parts at once')
    parser.add_argument('--out', type=written_path, default=Path('datasets'), help='folder of all data sets')
    _add_recipe_options(parser)
    parser.add_argument('--partial', action='store_true', help='accept a release that is not complete')
    parser.add_argument('--choose', type=int, metavar='N',
                        help='take N images of the training set, drawn by --seed; their number and seed are in the '
                             "root's name")
    parser.add_argument('--seed', type=int, default=0, help='of --choose (default: 0)')
    parser.set_defaults(run=_prepare, dataset=dataset)


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=written_path, required=True,
                        help='folder to make the roots in; the task is called as it is')
    parser.add_argument('--val', type=int, default=0, metavar='N',
                        help='keep N clean images, and what belongs to them, out for validation, drawn by --seed')
    parser.add_argument('--seed', type=int, default=0, help='of --val (default: 0)')
    _add_recipe_options(parser)
    parser.set_defaults(run=_prepare_own, kind=parser.prog.split()[-1])


def _add_recipe_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--sub-images', type=int, nargs=2, metavar=('SIZE', 'STEP'),
                        help='cut images into overlapping squares, for instance 256 192; default: whole images')
    parser.add_argument('--encoding', choices=ENCODINGS, default=ENCODINGS[0],
                        help='bmp (default) decodes many times faster; png is smaller, and takes 16 bits')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='default: one for each core')
    parser.set_defaults(parser=parser)


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
    if (args.choose is not None and args.choose < 1) or args.seed < 0:
        args.parser.error(f'--choose: expected 1 or more and a --seed from 0, got {args.choose} and {args.seed}')
    choice = None if args.choose is None else Choice(args.choose, args.seed)
    from dinoir_plugin.datasets.prepare import prepare

    _run(args, lambda request: prepare(args.dataset, replace(request, partial=args.partial, choice=choice)))
    return GOOD


def _prepare_own(args: argparse.Namespace) -> int:
    if min(args.val, args.seed) < 0:
        args.parser.error(f'--val: expected 0 or more and a --seed from 0, got {args.val} and {args.seed}')
    from dinoir_plugin.core.yaml_options import options_text
    from dinoir_plugin.datasets.own import DEGRADATION, PHOTOS, Own, blocks, prepare_own

    own = Own(args.kind, args.pairing, args.filename_tmpl, args.val, args.seed)
    _run(args, lambda request: prepare_own(own, request))
    say('\n' + options_text(blocks(own, args.out)).rstrip('\n'))
    if args.kind == PHOTOS:
        say(f'# {DEGRADATION} is an example: any degradation, or several (datasets/README.md)')
    return GOOD


def _run(args: argparse.Namespace, make: Callable[[Request], list[Prepared]]) -> None:
    """Make roots as the words ask for, and say which there are."""
    recipe = Recipe(args.encoding, _sub_images(args))
    if args.workers < 1:
        args.parser.error(f'--workers: expected 1 or more, got {args.workers}')
    import lmdb

    from dinoir_plugin.datasets.prepare import Request

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    try:
        roots = make(Request(args.source, args.out, recipe, args.workers))
    except lmdb.Error as error:
        raise PreparationError(str(error)) from error
    say(_table(roots))


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
