"""The commands ``dinoir restore``, ``info``, ``export`` and ``demo``. What they need is imported when they run."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.console import BAD, GOOD, INTERRUPTED, note, say
from dinoir_plugin.restore.starter import NAME, checkpoint_file, is_starter, which

if TYPE_CHECKING:
    from dinoir_plugin.restore.files import Job
    from dinoir_plugin.restore.restorer import Restorer

# methods that learn nothing, and the names under which they are registered
METHODS = {'cbm3d': 'CBM3D'}


def add_restore(commands: Any) -> None:
    """Describe ``dinoir restore``."""
    parser = commands.add_parser(
        'restore',
        help='restore images with a trained network',
        description='Restores a file, a folder with all folders in it, or what a pattern matches. Depth, transparency, '
        'colour profile and EXIF are kept. Exit status: 0 all were restored, 1 some were not (they are named at the '
        'end), 2 wrong use.',
    )
    parser.add_argument('sources', nargs='+', metavar='IN', help="a file, a folder or a pattern: 'in/**/*.jpg'")
    parser.add_argument('out', metavar='OUT', help='a file for a single file, else a folder, as is what ends in /')
    _add_network(parser, methods=True)
    parser.add_argument('--tile', type=_tile, default='auto', metavar='auto|N',
                        help='side of the tiles in pixels; auto: as the free memory allows (default)')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32', help='default: fp32')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: auto)')
    parser.add_argument('--self-ensemble', action='store_true',
                        help='the mean of all eight flips and turns: a little better, eight times the time')
    parser.add_argument('--strength', type=float, default=1, metavar='0..1',
                        help='how much of what the network changes is kept (default: 1, all of it)')
    parser.add_argument('--local-statistics', type=int, metavar='N',
                        help='channel attention over windows of N pixels, as in training, not over the whole image')
    parser.add_argument('--sampler', type=_sampler, metavar='KEY=N,...',
                        help='how a network that restores in steps does so, where not as in training: '
                             'solver=dpm2,steps=10')
    parser.add_argument('--compare', action='store_true', help='write NAME_compare.jpg too, before and after')
    parser.add_argument('--format', metavar='png|jpg|tif|webp', help="of what is written (default: the image's own)")
    parser.add_argument('--quality', type=int, default=95, metavar='1-100', help='of JPEG and WebP (default: 95)')
    parser.add_argument('--pages', choices=['one', 'all'], default='one',
                        help='all: restore each page or frame of a file to a file of its own, NAME_1, NAME_2, ...; '
                             'one (default): refuse files of several')
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument('--resume', action='store_true',
                          help='leave out what has been restored already; several processes share the rest')
    existing.add_argument('--overwrite', action='store_true', help='restore it again')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    parser.set_defaults(run=_restore)


def add_info(commands: Any) -> None:
    """Describe ``dinoir info``."""
    parser = commands.add_parser('info', help='say what a checkpoint is',
                                 description='Says what a checkpoint holds and how its network is built.')
    parser.add_argument('checkpoint', metavar='CKPT', help=f'.pth or .safetensors; {NAME}: the card of the model that '
                        'comes with the package')
    parser.set_defaults(run=_info)


def add_export(commands: Any) -> None:
    """Describe ``dinoir export``."""
    parser = commands.add_parser(
        'export',
        help='write a network for other programs: .onnx, .pt2, .safetensors, .pth',
        description='The ending says in which format. .onnx (ONNX) and .pt2 (torch.export) take (1, 3, H, W), RGB in '
        '[0, 1], of any size, and have the encoder inside; they are checked against the network on three sizes.',
    )
    parser.add_argument('out', metavar='OUT', help='a file that ends in .onnx, .pt2, .safetensors or .pth')
    _add_network(parser)
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it is there')
    parser.set_defaults(run=_export)


def add_demo(commands: Any) -> None:
    """Describe ``dinoir demo``."""
    parser = commands.add_parser(
        'demo',
        help='a web page to try networks on',
        description="Serves a page: drop an image, compare before and after, download. Needs pip install "
        "'dinoir_plugin[demo]'.",
    )
    parser.add_argument('--checkpoint', nargs='+', default=[NAME], metavar='CKPT',
                        help=f'one or more to choose from (default: {NAME}, the model that comes with the package)')
    parser.add_argument('--encoder-weights', metavar='FILE', help="where the frozen encoder's weights are here")
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps (default: auto)')
    parser.add_argument('--host', default='127.0.0.1', help='where to serve (default: 127.0.0.1, this machine only)')
    parser.add_argument('--port', type=int, default=7860, help='default: 7860')
    parser.add_argument('--max-megapixels', type=float, default=24, metavar='N', help='largest image (default: 24)')
    parser.set_defaults(run=_demo)


def _add_network(parser: argparse.ArgumentParser, methods: bool = False) -> None:
    source = parser.add_mutually_exclusive_group(required=not methods)
    default = f' (default: {NAME}, the model that comes with the package)' if methods else ''
    source.add_argument('--checkpoint', metavar='CKPT', help=f'the trained network, .pth or .safetensors{default}')
    if methods:
        source.add_argument('--method', choices=list(METHODS),
                            help="a method that learns nothing: cbm3d needs pip install 'dinoir_plugin[bm3d]'")
        parser.add_argument('--sigma', type=float, metavar='N', help='strength of the noise for --method, in 0..255')
    parser.add_argument('--encoder-weights', metavar='FILE',
                        help="where the frozen encoder's weights are here, if not where they were in training")
    parser.add_argument('--options', metavar='FILE.yml',
                        help='take network_g from this file, for checkpoints that do not say it themselves')


def _tile(text: str) -> int | str:
    if text != 'auto' and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 'auto' or a number of pixels, got '{text}'")
    return text if text == 'auto' else int(text)


def _sampler(text: str) -> dict[str, int | str]:
    pairs = [part.partition('=') for part in text.split(',')]
    if not all(key and value for key, _, value in pairs):
        raise argparse.ArgumentTypeError(f"expected options such as 'solver=dpm2,steps=10', got '{text}'")
    return {key: int(value) if value.isdecimal() else value for key, _, value in pairs}


def _network(args: argparse.Namespace) -> Any:
    from dinoir_plugin.restore.building import network_options

    return None if args.options is None else network_options(args.options)


def _method(args: argparse.Namespace) -> dict[str, Any]:
    if args.sigma is None:
        raise ValueError(f'--method {args.method}: give the strength of the noise, such as --sigma 25')
    return {'type': METHODS[args.method], 'sigma': args.sigma}


def _restorer(args: argparse.Namespace) -> Restorer:
    from dinoir_plugin.restore.restorer import Restorer

    how = {'tile': args.tile, 'precision': args.precision, 'self_ensemble': args.self_ensemble,
           'local_statistics': args.local_statistics, 'sampler': args.sampler, 'strength': args.strength}  # fmt: skip
    if args.method:
        return Restorer.from_options(_method(args), **how)
    return Restorer.from_checkpoint(
        args.checkpoint or NAME, device=args.device, encoder_weights=args.encoder_weights, network=_network(args), **how
    )


def _find_job(args: argparse.Namespace) -> Job:
    from dinoir_plugin.imaging.encoding import check_format
    from dinoir_plugin.restore.files import find
    from dinoir_plugin.restore.places import without_unwritable

    ending = None if args.format is None else check_format(args.format)
    job = find(args.sources, args.out, ending, args.compare, args.pages == 'all')
    if not 1 <= args.quality <= 100:
        raise ValueError(f'--quality: expected 1 to 100, got {args.quality}')
    there = [target for item in job.items for target in item.targets(args.compare) if target.exists()]
    if there and not (args.resume or args.overwrite):
        raise ValueError(f'{len(there)} results are there already, such as {there[0]}: '
                         '--resume leaves them out, --overwrite restores them again')
    return without_unwritable(job, args.compare, args.resume)


def _restore(args: argparse.Namespace) -> int:
    if not (args.method or args.checkpoint):
        checkpoint_file(NAME)  # where it is missing, that is said before the images are looked at
    job = _find_job(args)
    for path, problem in job.refused:
        note(f'{path}: {problem}')
    from dinoir_plugin.restore.job import Outcome, Writing, run

    outcome = Outcome()
    _shorten_warnings()
    try:
        if job.items:
            if not args.quiet:
                note(f'building the network of {args.checkpoint or args.method or NAME}')
            restorer = _restorer(args)
            if not args.method and is_starter(args.checkpoint or NAME):
                note(which(restorer.description))
            run(job, restorer, Writing(args.quality, args.compare, args.resume), outcome, not args.quiet)
    except KeyboardInterrupt:
        note(f'stopped: {outcome.restored} of {len(job.items)} were restored; --resume goes on from there')
        return INTERRUPTED
    others = f', {job.other_files} other files left alone' if job.other_files else ''
    skipped = f', {outcome.skipped} there already' if outcome.skipped else ''
    failed = len(outcome.failed) + len(job.refused)
    say(f'{outcome.restored} restored{skipped}, {failed} failed{others}')
    for path, reason in outcome.failed:
        note(f'{path}: {reason}')
    return BAD if failed else GOOD


def _info(args: argparse.Namespace) -> int:
    from dinoir_plugin.restore.info import describe

    say(describe(args.checkpoint))
    return GOOD


def _export(args: argparse.Namespace) -> int:
    note(f'reading {args.checkpoint}')
    from dinoir_plugin.restore.export import export

    _shorten_warnings()
    say(export(checkpoint_file(args.checkpoint), args.out, args.encoder_weights, _network(args), args.overwrite))
    return GOOD


def _demo(args: argparse.Namespace) -> int:
    note(f'loading Gradio and the network of {args.checkpoint[0]}; then the address of the page is said')
    try:
        from dinoir_plugin.restore.demo import serve
    except ImportError as error:
        raise ValueError(f"the page needs Gradio ({error}): pip install 'dinoir_plugin[demo]'") from error
    _shorten_warnings()
    if any(map(is_starter, args.checkpoint)):
        from dinoir_plugin.core import network_file

        note(which(network_file.read(checkpoint_file(NAME)).description))
    serve(args.checkpoint, args.encoder_weights, args.device, args.host, args.port, args.max_megapixels)
    return GOOD


def _shorten_warnings() -> None:
    """Show a warning as one line, where Python would show the line of code as well."""

    def show(message: Warning | str, *rest: Any, **named: Any) -> None:
        note(f'note: {message}')

    warnings.showwarning = show
