"""Depth maps for synthetic haze: reading, bringing to one scale, and making one up."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np

from dinoir_plugin.data.sources import FolderSource
from dinoir_plugin.imaging.decoding import Array, FloatArray
from dinoir_plugin.imaging.formats import ENDINGS
from dinoir_plugin.imaging.reader import Header
from dinoir_plugin.imaging.reading import check_single, open_image

DEPTH_SUFFIXES = ('.npy', *ENDINGS)

# Disparities near zero would put one pixel at infinity and, after scaling, everything else at the camera.
_FAR_PERCENTILE = 1.0


def check_depth_map(header: Header, name: str) -> None:
    """Refuse an image that is no depth map."""
    check_single(header, name)
    if header.channels != 1:
        raise ValueError(f'{name}: expected a depth map of one channel, got {header.channels} channels')


class DepthSource(FolderSource):
    """Read a folder of depth maps: images of one channel, of any depth, or .npy arrays of shape (H, W).

    Args:
        root: The folder.
        option: Path of the option that names it, for errors.
        kind: ``depth`` (larger is farther) or ``disparity`` (larger is nearer, depth is one over it).
    """

    check = staticmethod(check_depth_map)

    def __init__(self, root: str, option: str, kind: str) -> None:
        super().__init__(root, option, DEPTH_SUFFIXES)
        self.kind = kind

    def size(self, number: int) -> tuple[int, int]:
        """Read height and width from the file's header."""
        path = self.path(number)
        if not path.lower().endswith('.npy'):
            return super().size(number)
        shape = np.load(path, mmap_mode='r', allow_pickle=False).shape
        if len(shape) != 2:
            raise ValueError(f'{path}: expected an array (H, W) of one channel, got one of shape {shape}')
        return shape[0], shape[1]

    def depth(self, number: int) -> FloatArray:
        """Read a depth map as `Context.depth` wants it: float32, shape (H, W), range (0, 1], 1 is farthest."""
        return scale_depth(decode_depth(self.read(number), self.path(number)), self.kind, self.path(number))


def decode_depth(data: bytes, name: str) -> Array:
    """Decode a depth file.

    Args:
        data: The file's bytes.
        name: The file's name; .npy or an image's.

    Returns:
        Shape (H, W), the stored numbers.

    Raises:
        ValueError: It cannot be decoded or has more than one channel.
    """
    if not name.lower().endswith('.npy'):
        with open_image(data, name) as reader:
            check_depth_map(reader.header, name)
            return reader.values()
    values: Array = np.load(io.BytesIO(data), allow_pickle=False)
    if values.ndim != 2:
        raise ValueError(f'{name}: expected an array (H, W) of one channel, got one of shape {values.shape}')
    return values


def scale_depth(values: Array, kind: str, name: str) -> FloatArray:
    """Bring stored depth or disparity to distance over largest distance.

    Holes (not finite, zero or negative: what sensors and stereo write where they saw nothing) take the value of the
    nearest pixel that has one.

    Args:
        values: Shape (H, W), depth or disparity in any unit.
        kind: ``depth`` or ``disparity``.
        name: The file's name, for the error.

    Returns:
        float32, shape (H, W), range (0, 1], 1 is farthest.

    Raises:
        ValueError: The map has nothing but holes.
    """
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        raise ValueError(f'{name}: the depth map has no finite value above 0')
    distance: FloatArray = values.astype(np.float32)
    if not known.all():
        distance = _fill_from_nearest(distance, known)
    if kind == 'disparity':
        distance = np.reciprocal(np.maximum(distance, np.float32(np.percentile(distance, _FAR_PERCENTILE))))
    return distance / distance.max()


def _fill_from_nearest(values: FloatArray, known: Array) -> FloatArray:
    # OpenCV labels every pixel by its nearest zero pixel; a label's zero pixel itself carries the same label.
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.empty(labels.max() + 1, np.float32)
    of_label[labels[known]] = values[known]
    return of_label[labels]


def made_up_depth(height: int, width: int, rng: np.random.Generator) -> FloatArray:
    """Invent a smooth depth map: a ramp, far at the top as in most outdoor images, with gentle bumps.

    It is unrelated to what the image shows; it only makes haze uneven.

    Args:
        height: Rows of the whole image.
        width: Columns of the whole image.
        rng: Random numbers; how many are used does not depend on the size.

    Returns:
        float32, shape (height, width), range [0.1, 1], 1 is farthest.
    """
    lean = math.radians(rng.uniform(-45, 45))
    y, x = np.mgrid[0:1:9j, 0:1:9j]
    ramp = (1 - y) * math.cos(lean) + x * math.sin(lean)
    bumps = cv2.resize(rng.uniform(-0.25, 0.25, (4, 4)), (9, 9), interpolation=cv2.INTER_CUBIC)
    coarse = ramp + bumps
    coarse = 0.1 + 0.9 * (coarse - coarse.min()) / (coarse.max() - coarse.min())
    # Bilinear, so that values between the coarse ones stay inside the range.
    return cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
