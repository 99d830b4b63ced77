"""How much of a degradation is left in an encoder's features: maps, distances and principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dinoir_plugin.data.degradation_base import Context, Degradation
from dinoir_plugin.data.degradations import GaussianNoise
from dinoir_plugin.data.patches import Crop, cut, trim
from dinoir_plugin.encoders.encoder import Encoder
from dinoir_plugin.experiments.wording import encoder_text
from dinoir_plugin.imaging.decoding import Array, FloatArray

SEED = 0
CLIPPED = 1  # percent at either end of a principal component that are not told apart in its colour


class Probe:
    """Look at images through an encoder.

    Args:
        options: As ``network_g.encoder`` has them: ``name``, ``weights``, ``layers``, ``model_args``.

    Attributes:
        levels: Name to index, as in ``layers``.
        first: What the first convolution is: the patch embedding of a transformer, the stem of another network.
        text: The encoder and its weights, for titles.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.levels = dict(options['layers'])
        name, weights = options['name'], options.get('weights', 'auto')
        self.encoder = Encoder(name, weights, list(self.levels.values()), options.get('model_args'))
        self.first = 'patch embedding' if hasattr(self.encoder.model, 'patch_embed') else 'first convolution'
        self._first = next(module for module in self.encoder.model.modules() if isinstance(module, nn.Conv2d))
        self.text = encoder_text(options)

    def cropped(self, photo: Array) -> FloatArray:
        """Take the middle of a photograph, with sides that the encoder takes as they are, without resizing.

        Args:
            photo: (H, W, 3), uint8, RGB, no side shorter than the encoder's unit.

        Returns:
            float32 in [0, 1].
        """
        unit = self.encoder.unit
        height, width = (side // unit * unit for side in photo.shape[:2])
        top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
        return photo[top : top + height, left : left + width].astype(np.float32) / np.float32(255)

    def __call__(self, photo: FloatArray) -> dict[str, Tensor]:
        """Show what becomes of an image.

        Args:
            photo: (H, W, 3), float32, RGB in [0, 1].

        Returns:
            ``image`` (the image itself), ``first`` (of the first convolution, before norm and activation) and the
            levels by name, each (C, h, w), float64.
        """
        image = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None]
        caught: list[Tensor] = []
        hook = self._first.register_forward_hook(lambda module, args, output: caught.append(output))
        with hook, torch.inference_mode():
            features = self.encoder(image)
        found = {'image': image, 'first': caught[0], **{name: features[i] for name, i in self.levels.items()}}
        return {name: feature[0].double() for name, feature in found.items()}


def degrade(photo: FloatArray, degradation: Degradation, seed: int = SEED) -> FloatArray:
    """Degrade an image (H, W, 3), RGB in [0, 1], as in training; the same every time."""
    margin = degradation.margin
    framed = cut(photo, Crop(0, 0, *photo.shape[:2]), margin, degradation.border)
    return trim(degradation.apply(framed, np.random.default_rng(seed), Context()), margin)


def change(clean: Tensor, other: Tensor) -> float:
    """Measure how far ``other`` is from ``clean``, in units of how much ``clean`` varies over the image.

    ``||other - clean|| / ||clean - m||`` with the mean ``m`` of each channel; both (C, h, w). 0 is no change; above 1
    the clean image's mean would be a better guess of its features than the degraded image's features are.
    """
    centred = clean - clean.mean((1, 2), keepdim=True)
    return ((other - clean).norm() / centred.norm()).item()


class Principal(NamedTuple):
    """Hold principal components of several feature maps, in one common basis.

    Attributes:
        mean: (C,), over all cells of all maps.
        basis: (3, C), orthonormal, by falling variance; the largest entry of each is positive.
        explained: Share of the variance in each of the three.
        maps: Each (h, w, 3) in [0, 1]: the components as red, green and blue, on one scale for all maps.
    """

    mean: Tensor
    basis: Tensor
    explained: Tensor
    maps: list[Array]


def principal(features: Sequence[Tensor]) -> Principal:
    """Compute principal components of the cells of all ``features`` together, each (C, h, w)."""
    cells = torch.cat([feature.flatten(1).T for feature in features])
    mean = cells.mean(0)
    _, values, rows = torch.linalg.svd(cells - mean, full_matrices=False)
    basis = rows[:3]
    # a component and its opposite are the same: settle on one
    largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    basis = basis * largest.sign()
    scores = ((cells - mean) @ basis.T).numpy()
    low, high = np.percentile(scores, [CLIPPED, 100 - CLIPPED], axis=0)
    colours = np.clip((scores - low) / np.maximum(high - low, np.finfo(float).tiny), 0, 1)
    sizes = [feature[0].numel() for feature in features]
    parts = np.split(colours, np.cumsum(sizes)[:-1])
    maps = [part.reshape(*feature.shape[1:], 3) for part, feature in zip(parts, features)]
    return Principal(mean, basis, values[:3] ** 2 / (values**2).sum(), maps)


def psnr(clean: Tensor, other: Tensor) -> float:
    """Compute the PSNR in dB of an image or feature map (C, h, w): the peak is the range (max - min) of ``clean``."""
    peak = clean.max() - clean.min()
    return (10 * torch.log10(peak**2 / (other - clean).square().mean())).item()


class Curves(NamedTuple):
    """Hold what noise does to an image or a feature of it, at each noise level; means over images.

    Attributes:
        psnr: In dB, see :func:`psnr`.
        change: See :func:`change`.
    """

    psnr: Array
    change: Array


def over_noise(probe: Probe, images: Sequence[Array], sigmas: Sequence[float]) -> dict[str, Curves]:
    """Compare noisy against clean: the image and each of its features.

    The noise of an image is one draw for all levels, scaled; then clipped and rounded to 8 bits, as in training.

    Args:
        probe: The encoder.
        images: (H, W, 3), uint8, RGB; the middle of each is taken, see :meth:`Probe.cropped`.
        sigmas: Standard deviations, of 255.

    Returns:
        By the keys of :meth:`Probe.__call__`.
    """
    tables = []
    keys: list[str] = []
    for number, photo in enumerate(images):
        clean = probe.cropped(photo)
        reference = probe(clean)
        keys = list(reference)
        levels = (probe(degrade(clean, GaussianNoise(sigma), SEED + number)) for sigma in sigmas)
        tables.append(
            [[(psnr(reference[key], noisy[key]), change(reference[key], noisy[key])) for key in keys]
             for noisy in levels]
        )  # fmt: skip
    means = np.mean(tables, axis=0)  # of (images, sigmas, keys, 2)
    return {key: Curves(*means[:, number].T) for number, key in enumerate(keys)}
