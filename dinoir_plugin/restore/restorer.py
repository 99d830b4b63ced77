"""Restore images with a trained network: ``Restorer.from_checkpoint('net_g.pth').restore(image)``."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from torch import Tensor, nn

from dinoir_plugin.core.construct import build_registered
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.network_file import Description
from dinoir_plugin.core.tiles import check_tile
from dinoir_plugin.guidance.guided_arch import backbone_of
from dinoir_plugin.imaging.decoding import Array, ImageFileError
from dinoir_plugin.imaging.image_file import (
    DecodedImage,
    check_values,
    from_pillow,
    join_alpha,
    read_image,
    split_alpha,
    to_pillow,
)
from dinoir_plugin.imaging.paths import image_name
from dinoir_plugin.inference.graphs import Graphs
from dinoir_plugin.inference.sampler import sampler_for
from dinoir_plugin.inference.tiling import DEFAULT_OVERLAP, OnTile, no_report, restore_image
from dinoir_plugin.nn.local_statistics import use_local_statistics
from dinoir_plugin.restore import memory
from dinoir_plugin.restore.building import build
from dinoir_plugin.restore.starter import NAME, checkpoint_file

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
PROBE_SIDE = 128
# flips and turns: the eight ways in which an image can lie
TURNS = [(turns, flip) for turns in range(4) for flip in (False, True)]


@dataclass(frozen=True)
class Settings:
    """Hold how images are restored.

    Attributes:
        tile: Side of the tiles in pixels, at least 128; ``auto``: as the free memory allows, the whole image if
            possible.
        overlap: Of neighbouring tiles, in pixels.
        precision: ``fp32``, ``bf16`` or ``fp16``; sums over pixels are float32 in all.
        self_ensemble: Restore the image in all eight orientations and take the mean: eight times the time.
        local_statistics: Side in pixels of the windows over which channel attention sums
            (:mod:`~dinoir_plugin.nn.local_statistics`); None: over all pixels.
        sampler: Options of the sampler that count instead of those of the training, such as ``{'steps': 10}``.
        strength: How much of what the network changes is kept, from 0 (the image as it was) to 1.
        cuda_graph: ``auto``: images and tiles of sizes that come again are restored on a GPU by recorded kernels,
            launched as a whole; ``off``: they are not.
    """

    tile: int | str = 'auto'
    overlap: int = DEFAULT_OVERLAP
    precision: str = 'fp32'
    self_ensemble: bool = False
    local_statistics: int | None = None
    sampler: Mapping[str, Any] | None = None
    strength: float = 1
    cuda_graph: str = 'auto'

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OptionsError('precision', f"there is no '{self.precision}'", nearest(str(self.precision), PRECISIONS))
        if self.tile != 'auto':
            if not isinstance(self.tile, int) or self.tile < memory.TILES[-1]:
                raise OptionsError('tile', f"expected 'auto' or a number from {memory.TILES[-1]}, got {self.tile!r}")
            try:
                check_tile(self.tile, self.overlap)
            except ValueError as error:
                raise OptionsError('overlap', str(error)) from error
        if self.local_statistics is not None and self.local_statistics < 16:
            raise OptionsError('local_statistics', f'expected a side from 16 pixels, got {self.local_statistics}')
        if not 0 <= self.strength <= 1:
            raise OptionsError('strength', f'expected a number from 0 to 1, got {self.strength}')
        if self.cuda_graph not in ('auto', 'off'):
            raise OptionsError('cuda_graph', f"expected 'auto' or 'off', got {self.cuda_graph!r}")


class Restorer:
    """Restore with a trained network, ready for images of any size and kind.

    How large an image may be as a whole, and how large tiles are, is decided by the memory that is free at the
    beginning, so that results do not depend on an image's place in a row of others.

    Args:
        network: Takes and gives (B, 3, H, W), RGB in [0, 1].
        description: What its file says of it.
        device: Where to.
        settings: See :class:`Settings`.

    Attributes:
        network: In evaluation mode, on ``device``.
        description: As given.
        device: As given.
        settings: As given.
    """

    def __init__(
        self,
        network: nn.Module,
        description: Description | None = None,
        device: torch.device | str = 'cpu',
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._graphs = Graphs(self.settings.cuda_graph, functools.partial(warnings.warn, stacklevel=2))
        self.description = description
        own = (description.sampler if description else None) or getattr(network, 'restored_by', None)
        self.sampler = sampler_for(network, {**(own or {'type': 'Feedforward'}), **(self.settings.sampler or {})})
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        backbone = backbone_of(network)
        if not use_local_statistics(backbone, self.settings.local_statistics) and self.settings.local_statistics:
            raise OptionsError('local_statistics', f'{type(backbone).__name__} has no channel attention of ours',
                               'Leave it out')
        free = memory.free_memory(self.device)
        with torch.no_grad(), self._cast():
            self._memory = memory.measure(self.network, PROBE_SIDE, self.device, self.sampler), free

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path = NAME,
        *,
        device: str = 'auto',
        params: str | None = None,
        encoder_weights: str | Mapping[str, str] | None = None,
        network: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Restorer:
        """Load what the trainer wrote. Code in the file is never run.

        Args:
            path: ``.pth`` or ``.safetensors``; what this plugin wrote says itself how the network is built. ``starter``
                is the package's own small model, which ``dinoir info starter`` describes.
            device: ``auto`` (CUDA where it is), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
            params: ``params`` or ``params_ema``; the EMA weights by default, where there are any.
            encoder_weights: Where the frozen encoder's weights are on this machine, if not where they were in training.
            network: What stands under ``network_g``, for files of BasicSR and of others.
            **settings: See :class:`Settings`.

        Raises:
            FileError: The file is missing, not whole, or no network.
            OptionsError: The network cannot be built, or a setting is impossible.
        """
        chosen = Settings(**settings)
        place = find_device(device)
        built = build(checkpoint_file(path), params, encoder_weights, network)
        return cls(built.network, built.file.description, place, chosen)

    @classmethod
    def from_options(cls, network: Mapping[str, Any], **settings: Any) -> Restorer:
        """Restore by what learns nothing and has no checkpoint, on the CPU.

        Args:
            network: What would stand under ``network_g``, such as ``{'type': 'CBM3D', 'sigma': 25}``.
            **settings: See :class:`Settings`.

        Raises:
            OptionsError: It cannot be built, or a setting is impossible.
        """
        chosen = Settings(**settings)
        return cls(build_registered(ARCH_REGISTRY, network, 'network_g'), settings=chosen)

    def restore(self, image: Any, on_tile: OnTile = no_report) -> Any:
        """Restore an image; what comes out is of the kind and type that went in.

        Args:
            image: A path; a numpy array (H, W) or (H, W, 1 to 4), RGB with or without alpha, uint8, uint16 or float
                in [0, 1]; a PIL image; or a tensor (3, H, W) or (B, 3, H, W), RGB, float in [0, 1].
            on_tile: Called after each tile, in each step where the network restores in steps, with how many are done,
                and how many there are.

        Returns:
            An array or tensor of the same shape and type. For a path an array, RGB, in the file's type. For a PIL image
            one in grey or RGB with the same profile. Files and PIL images come out upright, transparency as it is.

        Raises:
            ImageFileError: It is no image, or one of another kind.
            OutOfMemory: It needs more memory than is free.
        """
        if isinstance(image, Tensor):
            return self._restore_tensor(image, on_tile)
        if isinstance(image, Image.Image):
            return to_pillow(self.restore_decoded(from_pillow(image), on_tile))
        if isinstance(image, np.ndarray):
            return self._restore_array(image, on_tile)
        if isinstance(image, (str, Path)):
            restored = self.restore_decoded(read_image(image), on_tile, image_name(image))
            return join_alpha(restored.pixels, restored.alpha)
        raise ImageFileError(f'expected a path, a numpy array, a PIL image or a tensor, got {type(image).__name__}')

    def restore_decoded(self, image: DecodedImage, on_tile: OnTile = no_report, name: str = '') -> DecodedImage:
        """Restore what :func:`~dinoir_plugin.imaging.image_file.read_image` reads; raises as :meth:`restore`.

        Args:
            image: The image.
            on_tile: As :meth:`restore` has it.
            name: Of its file, without folders and ending; random numbers of a sampler follow from it.
        """
        pixels = image.pixels
        full = 1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max
        colour = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
        unit = np.divide(colour.transpose(2, 0, 1), full, dtype=np.float32, order='C')
        restored = self._run(torch.from_numpy(unit)[None], on_tile, name)[0].permute(1, 2, 0).numpy()
        if pixels.ndim == 2:
            restored = restored.mean(axis=2)
        if full != 1:
            restored = np.rint(restored * full)
        return image.with_pixels(np.ascontiguousarray(restored.astype(pixels.dtype)))

    def _restore_array(self, image: Array, on_tile: OnTile) -> Array:
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)) or not image.size:
            raise ImageFileError(f'expected an array (H, W) or (H, W, 1 to 4), got {image.shape}')
        if image.dtype.kind != 'f' and image.dtype not in (np.uint8, np.uint16):
            raise ImageFileError(f'expected uint8, uint16 or floats from 0 to 1, got {image.dtype}')
        pixels, alpha = split_alpha(image)
        values = check_values(pixels, 'the array') if image.dtype.kind == 'f' else pixels
        restored = self.restore_decoded(DecodedImage(values), on_tile)
        return join_alpha(restored.pixels.astype(image.dtype), alpha).reshape(image.shape)

    def _restore_tensor(self, image: Tensor, on_tile: OnTile) -> Tensor:
        if image.ndim not in (3, 4) or image.shape[-3] != 3 or not image.numel():
            raise ImageFileError(f'expected a tensor (3, H, W) or (B, 3, H, W), got {tuple(image.shape)}')
        if not image.is_floating_point():
            raise ImageFileError(f'expected a tensor of floats from 0 to 1, got {image.dtype}')
        check_values(image.detach().float().cpu().numpy(), 'the tensor')
        batch = image.detach().reshape(-1, *image.shape[-3:]).to('cpu', torch.float32)
        # one by one, so that an image's tiles and result do not depend on the others
        restored = torch.cat([self._run(single, on_tile) for single in batch.split(1)])
        return restored.reshape(image.shape).to(image)

    @torch.no_grad()
    def _run(self, image: Tensor, on_tile: OnTile, name: str = '') -> Tensor:
        """Restore (1, 3, H, W), float32 in [0, 1], on the CPU."""
        if not self.settings.self_ensemble:
            return self._oriented(image, on_tile, name)
        total = torch.zeros_like(image)
        for number, (turns, flip) in enumerate(TURNS):
            turned = image.flip(-1) if flip else image
            turned = turned.rot90(turns, (-2, -1)).contiguous()

            def on_part(done: int, count: int, before: int = number) -> None:
                on_tile(before * count + done, len(TURNS) * count)

            back = self._oriented(turned, on_part, name).rot90(-turns, (-2, -1))
            total += back.flip(-1) if flip else back
        return total / len(TURNS)

    def _oriented(self, image: Tensor, on_tile: OnTile, name: str) -> Tensor:
        plan = self.plan(*image.shape[-2:])
        with self._cast():
            # large images stay in main memory, and only their tiles go to the device
            result = restore_image(self.network, image, plan.tile, self.settings.overlap, plan.one_guide, on_tile,
                                   self.sampler, self.device, names=(name,) * len(image),
                                   graphs=self._graphs)  # fmt: skip
        if not result.isfinite().all():
            raise ImageFileError('the network gives values that are no numbers'
                               + (': try --precision fp32' if self.settings.precision != 'fp32' else ''))
        restored = result.float().clamp_(0, 1)
        return restored if self.settings.strength == 1 else image.lerp(restored, self.settings.strength)

    def plan(self, height: int, width: int) -> memory.TilePlan:
        """Plan how an image of that size goes through the network.

        Raises:
            OutOfMemory: It needs more memory than is free.
        """
        tile = None if self.settings.tile == 'auto' else int(self.settings.tile)
        most = memory.AT_ONCE if self.device.type == 'cpu' else math.inf
        return memory.choose(height, width, *self._memory, tile, most)

    def _cast(self) -> torch.autocast:
        kind = PRECISIONS[self.settings.precision]
        return torch.autocast(self.device.type, kind, enabled=kind != torch.float32)


def find_device(name: str) -> torch.device:
    """Find the device of that name, where it is to be had.

    Raises:
        OptionsError: It is not.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise OptionsError('device', f"'{name}' is not to be had here ({reason})", "Use 'auto' or 'cpu'") from error
    return device
