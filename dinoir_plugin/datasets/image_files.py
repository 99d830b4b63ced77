"""What a worker process does: read a scene's images strictly, cut them, encode them without loss."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dinoir_plugin.core.wording import size_text
from dinoir_plugin.datasets.planning import File, FilePart, Scene
from dinoir_plugin.datasets.recipe import LEVELS, Recipe
from dinoir_plugin.imaging.decoding import Array
from dinoir_plugin.imaging.reading import decode_image


class Task(NamedTuple):
    """Hold a scene with what is needed to encode it; the fields are as in `Recipe` and `DataSet`."""

    scene: Scene
    recipe: Recipe
    many_to_one: bool
    clean_border: int


class Encoded(NamedTuple):
    """Hold what came of a scene.

    Attributes:
        records: Role, key and encoded bytes of every image or sub-image; none where there is a problem.
        problems: What is wrong with its files, by name.
    """

    records: list[tuple[int, str, bytes]]
    problems: list[str]


def start_worker() -> None:
    """Prepare a worker process: one core, Ctrl-C is the parent's business, and no life without the parent."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent tells its workers nothing: they would wait for work for ever.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def encode_scene(task: Task) -> Encoded:
    """Read, check, cut and encode the images of a scene; what is wrong with its files is returned, not raised."""
    images: list[Array] = []
    problems = []
    decoded: dict[File, Array] = {}
    for part in task.scene.parts:
        try:
            if part.file not in decoded:
                decoded[part.file] = decode_strictly(_bytes(part.file), part.file.name)
            images.append(_half(decoded[part.file], part))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if not problems:
        _cut_border(images, task.clean_border)
        problems = _size_problems(task.scene, images)
    if not problems and task.recipe.encoding == 'bmp':
        problems = [f'{part.file.name}: 16 bits a channel do not fit into BMP. Use --encoding png'
                    for part, image in zip(task.scene.parts, images) if image.dtype != np.uint8]
    if problems:
        # The two halves of one file have the same problem.
        return Encoded([], list(dict.fromkeys(problems)))
    records = []
    for part, image in zip(task.scene.parts, images):
        for key, piece in cut_pieces(part.key, image, task.recipe.sub_images, task.many_to_one):
            records.append((part.role, key, _encode(piece, task.recipe.encoding)))
    return Encoded(records, [])


def _bytes(file: File) -> bytes:
    if not os.path.exists(file.path) and os.path.islink(file.path):
        raise ValueError(f'{file.name}: the link leads nowhere')
    return Path(file.path).read_bytes()


def _half(image: Array, part: FilePart) -> Array:
    if part.half is None:
        return image
    if image.shape[1] % 2:
        raise ValueError(f'{part.file.name}: expected two halves side by side, but the width {image.shape[1]} is odd')
    middle = image.shape[1] // 2
    return image[:, :middle] if part.half == 0 else image[:, middle:]


def decode_strictly(data: bytes, name: str) -> Array:
    """Decode an image file upright and in colour.

    Args:
        data: The file's bytes.
        name: What to call the file in errors.

    Returns:
        uint8 or uint16, shape (H, W, 3), order BGR; grey is repeated three times.

    Raises:
        ValueError: It is truncated or no image, or one that `decode_image` refuses.
    """
    image = decode_image(data, name)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def _cut_border(images: list[Array], border: int) -> None:
    """Cut the clean image's frame off, where there is one."""
    height, width = (length + 2 * border for length in images[0].shape[:2])
    if border and images[-1].shape[:2] == (height, width):
        images[-1] = images[-1][border:-border, border:-border]


def _size_problems(scene: Scene, images: list[Array]) -> list[str]:
    clean = images[-1].shape
    return [f'{part.file.name} is {size_text(image.shape)}, but {scene.parts[-1].file.name} is '
            f'{size_text(clean)}. Pairs must have the same size'
            for part, image in zip(scene.parts, images) if image.shape != clean]


def cut_pieces(
    key: str, image: Array, sub_images: tuple[int, int] | None, many_to_one: bool
) -> list[tuple[str, Array]]:
    """Give an image, or its sub-images row by row, with their keys.

    Args:
        key: The image's key.
        image: Shape (H, W, 3).
        sub_images: Side and step; None for the whole image, which is also kept where it is smaller than the side.
        many_to_one: See `piece_key`.
    """
    if sub_images is None:
        return [(key, image)]
    size, step = sub_images
    if min(image.shape[:2]) < size:
        return [(piece_key(key, 1, many_to_one), image)]
    pieces = [image[top : top + size, left : left + size]
              for top in positions(image.shape[0], size, step) for left in positions(image.shape[1], size, step)]
    return [(piece_key(key, number, many_to_one), piece) for number, piece in enumerate(pieces, start=1)]


def positions(length: int, size: int, step: int) -> list[int]:
    """Find where sub-images begin along one side: every ``step`` pixels, and one more that ends with the image."""
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] + size == length else [*starts, length - size]


def piece_key(key: str, number: int, many_to_one: bool) -> str:
    """Make the key of sub-image ``number``, from 1.

    ``a/b`` becomes ``a/b_s001``. With RESIDE's naming what stands before the first underscore names the clean image,
    so the number goes there: ``1400_4`` becomes ``1400s001_4`` and is paired with ``1400s001``.
    """
    if not many_to_one:
        return f'{key}_s{number:03d}'
    clean, underscore, rest = key.partition('_')
    return f'{clean}s{number:03d}{underscore}{rest}'


def first_key(key: str, recipe: Recipe, many_to_one: bool) -> str:
    """Give the key that a root holds once an image's records are in it."""
    return key if recipe.sub_images is None else piece_key(key, 1, many_to_one)


def _encode(image: Array, encoding: str) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, LEVELS['png']] if encoding == 'png' else []
    done, data = cv2.imencode(f'.{encoding}', image, options)
    if not done:
        raise ValueError(f'OpenCV cannot encode an image of {size_text(image.shape)} pixels as {encoding}')
    return data.tobytes()
