"""A web page: drop an image, compare before and after, download. Needs Gradio: the extra ``[demo]``."""

from __future__ import annotations

import functools
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.console import say
from dinoir_plugin.imaging.encoding import encode_image, ending_for
from dinoir_plugin.imaging.formats import ENDINGS, split_name
from dinoir_plugin.imaging.image_file import DecodedImage, read_image
from dinoir_plugin.restore.comparison import eight_bits
from dinoir_plugin.restore.job import reason
from dinoir_plugin.restore.restorer import Restorer

TILES = ['auto', '256', '512', '1024']
BYTES_A_PIXEL = 8  # of a file that is worth reading: 16 bits, RGB with alpha, uncompressed
WAITING = 16  # images in the queue; who comes later is asked to come back
CACHED = 3600  # seconds that uploads and results are kept
# the slider's images, which a browser scales anyway; the download has all pixels
SHOWN = 1600


def serve(
    checkpoints: Sequence[str],
    encoder_weights: str | None = None,
    device: str = 'auto',
    host: str = '127.0.0.1',
    port: int = 7860,
    max_megapixels: float = 24,
) -> None:
    """Serve the page until interrupted.

    Raises:
        ValueError: A checkpoint cannot be used, or the port is taken.
        OSError: A checkpoint cannot be read.
    """
    page = build_page(checkpoints, encoder_weights, device, max_megapixels)
    page.queue(max_size=WAITING, default_concurrency_limit=1)
    limit = int(max_megapixels * 1e6 * BYTES_A_PIXEL)
    # quiet: Gradio's own lines advise arguments of launch(), which the command has not
    page.launch(server_name=host, server_port=port, max_file_size=limit, inbrowser=False, share=False, quiet=True,
                prevent_thread_lock=True)
    say(f'The page: {page.local_url}')
    page.block_thread()


def build_page(
    checkpoints: Sequence[str], encoder_weights: str | None, device: str, max_megapixels: float
) -> gr.Blocks:
    """Build the page; arguments and errors as :func:`serve`."""
    names = {Path(path).name if len({Path(p).name for p in checkpoints}) == len(checkpoints) else path: path
             for path in checkpoints}  # fmt: skip

    @functools.lru_cache(maxsize=4)
    def restorer(name: str, tile: str) -> Restorer:
        size = tile if tile == 'auto' else int(tile)
        return Restorer.from_checkpoint(names[name], device=device, encoder_weights=encoder_weights, tile=size)

    restorer(next(iter(names)), 'auto')  # what cannot be used is said before the page is there
    # results wait here until they are copied to the page's own cache; the oldest goes with each new one
    folders: deque[Any] = deque(maxlen=WAITING)

    def restore(upload: str | None, name: str, tile: str, progress: Any = gr.Progress()) -> tuple[Any, str]:  # noqa: B008
        if upload is None:
            raise gr.Error('Choose an image first.')
        try:
            decoded = read_image(upload)
            height, width = decoded.pixels.shape[:2]
            if height * width > max_megapixels * 1e6:
                raise ValueError(f'{width}x{height} is more than the {max_megapixels:g} megapixels of this page')
            restored = restorer(name, tile).restore_decoded(
                decoded, lambda done, count: progress((done, count), unit='tiles')
            )
            folders.append(tempfile.TemporaryDirectory(prefix='dinoir_'))
            path = _download(restored, Path(upload), Path(folders[-1].name))
        # shown on the page, whatever it is
        except Exception as error:
            raise gr.Error(reason(error, Path(upload))) from error
        return (_shown(decoded), _shown(restored)), str(path)

    with gr.Blocks(title='dinoir', analytics_enabled=False, delete_cache=(CACHED, CACHED)) as page:
        gr.Markdown('# Restore an image\nImages go to the machine that serves this page, and nowhere else.')
        with gr.Row():
            with gr.Column(scale=1):
                upload = gr.File(label='Image', file_types=list(ENDINGS), type='filepath')
                name = gr.Dropdown(list(names), value=next(iter(names)), label='Checkpoint')
                tile = gr.Dropdown(TILES, value='auto', label='Tile (pixels)')
                button = gr.Button('Restore', variant='primary')
            with gr.Column(scale=2):
                slider = gr.ImageSlider(label='Before and after', type='pil', interactive=False)
                result = gr.File(label='Result')
        button.click(restore, [upload, name, tile], [slider, result])
    return page


def _download(restored: DecodedImage, upload: Path, folder: Path) -> Path:
    """Write the result with all pixels, under the image's name."""
    ending = ending_for(upload, None, restored.format)
    path = folder / f'{split_name(upload.name)[0]}_restored.{ending}'
    write_atomic(path, encode_image(restored, ending))
    return path


def _shown(decoded: DecodedImage) -> Image.Image:
    image = Image.fromarray(eight_bits(decoded.pixels)).convert('RGB')
    image.thumbnail((SHOWN, SHOWN))
    return image
