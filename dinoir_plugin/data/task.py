"""One task of a data set: its images, how they pair up, and what degrades them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.data.degradation_base import Context, Degradation
from dinoir_plugin.data.degradations import build_degradations
from dinoir_plugin.data.depth import DepthSource, made_up_depth
from dinoir_plugin.data.meta_info import read_meta_info
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.pairing import Pair, add_depth, add_medium, clean_only, pair_by_name, pair_many_to_one
from dinoir_plugin.data.patches import Crop, Turn, around, centred, cut, draw_crop, draw_turn, trim, turn_image
from dinoir_plugin.data.sources import Source, folder_path, open_source
from dinoir_plugin.imaging.decoding import Array, FloatArray, to_rgb_float
from dinoir_plugin.imaging.reading import decode_image

AVERAGE = 'average'  # of figures over all tasks; none is called so


class Sample(NamedTuple):
    """Hold a degraded image or patch and its clean one.

    Attributes:
        lq: float32, shape (H, W, 3), order RGB, range [0, 1] unless the degradation says otherwise.
        gt: float32, shape (H, W, 3), order RGB, range [0, 1].
        lq_path: The degraded file; the clean one's where the degraded image is made.
        gt_path: The clean file.
        medium: Half-restored, like ``gt``; None where the task has no such images.
    """

    lq: FloatArray
    gt: FloatArray
    lq_path: str
    gt_path: str
    medium: FloatArray | None = None


class Task:
    """Give the images of one task.

    Either paired (``dataroot_lq``) or clean only with a ``degradation``; both at once are refused, because real pairs
    with an extra synthetic degradation are a different task, and nothing would tell that it was meant.

    Args:
        name: The task's name in the options.
        options: Its block.
    """

    def __init__(self, name: str, options: TaskOptions) -> None:
        self.name = name
        self.path = f'tasks.{name}'
        if options.dataroot_gt is None:
            raise OptionsError(f'{self.path}.dataroot_gt', 'every task needs a folder of clean images')
        paired = options.dataroot_lq is not None
        if paired == (options.degradation is not None):
            found = 'both' if paired else 'neither'
            raise OptionsError(self.path, f'expected either dataroot_lq or degradation, got {found}',
                               'Pairs come from dataroot_lq; degradation makes them from clean images')
        self.weight = options.weight
        self.repeat = options.repeat
        self.crop_multiple = options.crop_multiple
        self.gt = open_source(options.dataroot_gt, f'{self.path}.dataroot_gt')
        self.lq: Source | None = None
        self.chain: list[Degradation] = []
        if paired:
            self.lq = open_source(options.dataroot_lq, f'{self.path}.dataroot_lq')
        else:
            self._refuse(options, ('filename_tmpl', 'pairing', 'dataroot_medium'), 'dataroot_lq')
            self.chain = build_degradations(options.degradation, f'{self.path}.degradation')
        self.margin = sum(degradation.margin for degradation in self.chain)
        self.border = next((degradation.border for degradation in self.chain if degradation.margin), 'mirror')
        self.wants_depth = any(degradation.wants_depth for degradation in self.chain)
        self.depth = self._open_depth(options)
        self.many_to_one = options.pairing == 'reside'
        self.medium: Source | None = None
        if options.dataroot_medium is not None:
            self.medium = open_source(options.dataroot_medium, f'{self.path}.dataroot_medium')
        self.pairs = self._pair_up(options)

    def __len__(self) -> int:
        return len(self.pairs)

    def _refuse(self, options: TaskOptions, keys: Sequence[str], needed: str) -> None:
        for key in keys:
            if getattr(options, key) is not None:
                raise OptionsError(f'{self.path}.{key}', f'this option has no effect without {needed}', 'Remove it')

    def _open_depth(self, options: TaskOptions) -> DepthSource | None:
        if options.dataroot_depth is None:
            self._refuse(options, ('depth_kind',), 'dataroot_depth')
            return None
        if not self.wants_depth:
            self._refuse(options, ('dataroot_depth',), 'a degradation that uses depth, such as haze')
        option = f'{self.path}.dataroot_depth'
        return DepthSource(folder_path(options.dataroot_depth, option), option, options.depth_kind or 'depth')

    def _pair_up(self, options: TaskOptions) -> list[Pair]:
        listed = None
        if options.meta_info_file is not None:
            listed = read_meta_info(options.meta_info_file, f'{self.path}.meta_info_file')
        if self.lq is None:
            pairs = clean_only(self.gt, listed, self.path)
            return add_depth(pairs, self.gt, self.depth, self.path) if self.depth is not None else pairs
        if self.many_to_one:
            self._refuse(options, ('filename_tmpl',), 'pairing: name')
            pairs = pair_many_to_one(self.gt, self.lq, listed, self.path)
        else:
            pairs = pair_by_name(self.gt, self.lq, options.filename_tmpl or '{}', listed, self.path)
        return pairs if self.medium is None else add_medium(pairs, self.lq, self.medium, self.path)

    def stem(self, number: int) -> str:
        """Give the key of an item's clean image: its name without root and extension, in folders and LMDBs alike."""
        return self.gt.keys[self.pairs[number].gt]

    def seen(self, number: int) -> str:
        """Give the key of an item's degraded image, of the clean one where the degraded one is made."""
        pair = self.pairs[number]
        return self.gt.keys[pair.gt] if self.lq is None or pair.lq is None else self.lq.keys[pair.lq]

    def patch(
        self, number: int, size: int, use_hflip: bool, use_rot: bool, rng: np.random.Generator
    ) -> Sample:
        """Make a training patch of item ``number``: drawn crop, drawn turn, then the degradation on the patch.

        Raises:
            ValueError: An image is smaller than the patch, cannot be decoded, or differs in size from its partner.
        """
        gt = self._large_enough(number, size)
        crop = draw_crop(gt.shape[0], gt.shape[1], size, rng)
        return self._sample(number, gt, crop, draw_turn(use_hflip, use_rot, rng), rng)

    def two_patches(
        self, number: int, size: int, use_hflip: bool, use_rot: bool, rng: np.random.Generator
    ) -> tuple[Sample, FloatArray]:
        """Make two training patches of one degraded image: crops drawn, degraded together, then turned each by itself.

        Returns:
            The first one, and the second one's degraded image, (size, size, 3).

        Raises:
            ValueError: As for :meth:`patch`.
        """
        gt = self._large_enough(number, size)
        crops = [draw_crop(gt.shape[0], gt.shape[1], size, rng) for _ in range(2)]
        turns = [draw_turn(use_hflip, use_rot, rng) for _ in range(2)]
        both = around(crops)
        whole = self._sample(number, gt, both, Turn(), rng)
        first, second = (crop._replace(top=crop.top - both.top, left=crop.left - both.left) for crop in crops)
        lq, key = (turn_image(cut(whole.lq, crop, 0), turn) for crop, turn in zip((first, second), turns))
        gt = turn_image(cut(whole.gt, first, 0), turns[0])
        medium = None if whole.medium is None else turn_image(cut(whole.medium, first, 0), turns[0])
        return whole._replace(lq=lq, gt=gt, medium=medium), key

    def _large_enough(self, number: int, size: int) -> Array:
        gt = self.decode(self.gt, self.pairs[number].gt)
        if min(gt.shape[:2]) < size:
            raise ValueError(f'{self.gt.path(self.pairs[number].gt)}: {size_text(gt.shape)} pixels are too few for '
                             f'gt_size {size}. Lower gt_size or remove the image.')
        return gt

    def whole(self, number: int, rng: np.random.Generator) -> Sample:
        """Give item ``number`` unturned and whole, but for ``crop_multiple``; errors as for `patch`."""
        gt = self.decode(self.gt, self.pairs[number].gt)
        try:
            crop = centred(gt.shape[0], gt.shape[1], self.crop_multiple)
        except ValueError as error:
            raise ValueError(f'{self.gt.path(self.pairs[number].gt)}: {error}') from error
        return self._sample(number, gt, crop, Turn(), rng, whole=True)

    def _sample(
        self, number: int, gt: Array, crop: Crop, turn: Turn, rng: np.random.Generator, whole: bool = False
    ) -> Sample:
        pair = self.pairs[number]
        gt_path = self.gt.path(pair.gt)
        # Cut first, as stored: turning whole images into RGB floats costs more than decoding them.
        clean = to_rgb_float(turn_image(cut(gt, crop, self.margin, self.border), turn))
        if self.lq is not None and pair.lq is not None:
            degraded, lq_path = self._beside(self.lq, pair.lq, gt, gt_path, crop, turn)
            medium = None
            if self.medium is not None and pair.medium is not None:
                medium, _ = self._beside(self.medium, pair.medium, gt, gt_path, crop, turn)
            return Sample(degraded, clean, lq_path, gt_path, medium)
        depth = None
        if self.wants_depth:
            depth = turn_image(cut(self._depth(number, gt, rng), crop, self.margin, self.border), turn)
        whole = whole or (crop.height, crop.width) == gt.shape[:2]
        context = Context(depth, self.margin, whole, number, len(self))
        degraded = clean
        for degradation in self.chain:
            degraded = degradation.apply(degraded, rng, context)
        return Sample(trim(degraded, self.margin), trim(clean, self.margin), gt_path, gt_path)

    def _beside(
        self, source: Source, number: int, gt: Array, gt_path: str, crop: Crop, turn: Turn
    ) -> tuple[FloatArray, str]:
        """Cut the same window from an image that belongs to a clean one, and name it."""
        image, path = self.decode(source, number), source.path(number)
        _check_same_size(image.shape, path, gt.shape, gt_path)
        return to_rgb_float(turn_image(cut(image, crop, 0), turn)), path

    def _depth(self, number: int, gt: Array, rng: np.random.Generator) -> FloatArray:
        chosen = self.pairs[number].depth
        if self.depth is None or chosen is None:
            return made_up_depth(gt.shape[0], gt.shape[1], rng)
        depth = self.depth.depth(chosen)
        _check_same_size(depth.shape, self.depth.path(chosen), gt.shape, self.gt.path(self.pairs[number].gt))
        return depth

    @staticmethod
    def decode(source: Source, number: int) -> Array:
        """Decode an image as stored, see `decode_image`."""
        return decode_image(source.read(number), source.path(number))


def _check_same_size(shape: Sequence[int], path: str, gt_shape: Sequence[int], gt_path: str) -> None:
    if tuple(shape[:2]) != tuple(gt_shape[:2]):
        raise ValueError(f'{path} is {size_text(shape)}, but {gt_path} is {size_text(gt_shape)}. '
                         'Pairs must have the same size.')
