"""How much memory is free, how much a network needs for an image, and how large its tiles may be."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.wording import size_text, told_apart
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.inference.sampler import Sampler
from dinoir_plugin.inference.tiling import MOST_ENCODED, restore_image

GIB = 1 << 30
TILES = (2048, 1536, 1024, 768, 512, 384, 256, 192, 128)
# of the free memory, what an image may take; of what is counted, what allocators and libraries come to beside it
SHARE = 0.8
MARGIN = 1.25
# of main memory, for what goes through a network at once while there are smaller tiles; others need memory, too
AT_ONCE = 4 * GIB
# bytes a pixel that is there throughout: the file's values, input and result as floats, the values written
KEPT = 42


class OutOfMemory(ValueError):
    """An image that needs more memory than is free; the message says how much."""


class Needs(NamedTuple):
    """Hold what an image needs, in bytes a pixel.

    Attributes:
        network: Of what goes through the network at once.
        encoder: Of an image that only the encoder sees; 0 without one, and for one that sees all images in one size.
        of_one_size: Whether the network is guided, and by nothing that takes more memory for a larger image.
    """

    network: float
    encoder: float
    of_one_size: bool = False


class TilePlan(NamedTuple):
    """Say how an image goes through the network.

    Attributes:
        tile: Side of the tiles; None: as a whole.
        one_guide: Whether a guided network looks at the whole image once.
    """

    tile: int | None
    one_guide: bool


def choose(
    height: int, width: int, needs: Needs, free: int, tile: int | None = None, most: float = math.inf
) -> TilePlan:
    """Choose the largest tiles of TILES for which memory is free, or none at all.

    Args:
        height: Of the image.
        width: Of the image.
        needs: Of the network.
        free: Bytes.
        tile: A side that is given already.
        most: Bytes that what goes through the network at once may take, unless the tile is given or the smallest.

    Raises:
        OutOfMemory: Not even the smallest fit, or the tile given does not.
    """
    pixels = height * width
    guided = needs.encoder > 0
    at_once = pixels <= MOST_ENCODED and MARGIN * pixels * needs.encoder <= SHARE * free
    sides: tuple[int | None, ...] = (tile,) if tile else (None, *TILES)
    for side in sides:
        if side is None and guided and pixels > MOST_ENCODED:
            continue
        at_most = math.inf if side == sides[-1] else most
        if bytes_needed(height, width, needs, side) <= SHARE * free and _passing(height, width, needs, side) <= at_most:
            return TilePlan(side, one_guide=needs.of_one_size or (guided and at_once))
    smallest = bytes_needed(height, width, needs, sides[-1]) / SHARE
    needed, left = told_apart(smallest, free, lambda number, digits: f'{number / GIB:.{digits}f} GiB')
    remedy = 'Try smaller tiles' if tile and tile > TILES[-1] else 'Free some, or restore the image in parts'
    raise OutOfMemory(
        f'{size_text((height, width))} pixels in tiles of {sides[-1]} need about {needed} of free memory, and {left} '
        f'is free. {remedy}'
    )


def bytes_needed(height: int, width: int, needs: Needs, tile: int | None) -> float:
    """Estimate what an image takes, in tiles of that side or as a whole."""
    return height * width * KEPT + _passing(height, width, needs, tile)


def _passing(height: int, width: int, needs: Needs, tile: int | None) -> float:
    at_once = height * width if tile is None else min(height, tile) * min(width, tile)
    return MARGIN * at_once * needs.network


def measure(net: nn.Module, side: int, device: torch.device, sampler: Sampler | None = None) -> Needs:
    """Measure what a network needs, from one pass of an image of ``side`` pixels a side.

    Raises:
        OptionsError: It does not turn images into images of the same size.
    """
    image = torch.full((1, 3, side, side), 0.5, device=device)
    of_one_size = isinstance(net, GuidedArch) and net.of_one_size
    results = []
    try:
        short = sampler.trial() if sampler else None
        network = peak_bytes(lambda: results.append(restore_image(net, image, sampler=short)))
        encoder = peak_bytes(lambda: net.condition(image)) if isinstance(net, GuidedArch) and not of_one_size else 0
    # any arch of a registry may be named, and raise anything
    except Exception as error:
        problem = f'{type(net).__name__} does not take an image (1, 3, {side}, {side})'
        raise OptionsError('network_g', f'{problem} ({type(error).__name__}: {str(error)[:200]})') from error
    shape = getattr(results[0], 'shape', type(results[0]).__name__)
    if shape != image.shape:
        shapes = f'{tuple(image.shape)}, got {shape}'
        raise OptionsError('network_g', f'expected a network that gives images of the size it takes, {shapes}')
    return Needs(network / side**2, encoder / side**2, of_one_size)


def peak_bytes(run: Callable[[], object]) -> int:
    """Count the most bytes of tensors made by ``run`` that are there at once; what kernels take besides is not seen."""
    with _Counting() as counting:
        run()
    return counting.peak


class _Counting(TorchDispatchMode):
    """Follow every tensor's memory from its making to its end, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in given:  # no view of what was there before, such as a weight
                self._note(storage)
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        place = storage._cdata
        if place in self._known:
            return
        self._known.add(place)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def free_memory(device: torch.device) -> int:
    """Count the free bytes of a device: what the system has, less what a container or ``ulimit`` withholds."""
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = [_available(), *_container(), *_limit()]
    return max(0, min(found))


def _available() -> int:
    meminfo = Path('/proc/meminfo')
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) << 10
    # other systems say what there is, and as a rule half of it can be had
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2


def _container() -> list[int]:
    """Read what the control group of a container leaves, versions 2 and 1."""
    root = Path('/sys/fs/cgroup')
    for most, used in (('memory.max', 'memory.current'),
                       ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes')):  # fmt: skip
        try:
            free = int((root / most).read_text()) - int((root / used).read_text())
            statistics = (root / used).with_name('memory.stat').read_text().split()
            # files that were read count as used until somebody needs their place
            entries = dict(zip(statistics[::2], statistics[1::2]))
            return [free + int(entries.get('total_inactive_file', entries.get('inactive_file', 0)))]
        except (OSError, ValueError):  # not this version, or no limit (`max`)
            continue
    return []


def _limit() -> list[int]:
    """Read what ``ulimit -v`` leaves."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY:
            return []
        used = int(Path('/proc/self/statm').read_text().split()[0]) * os.sysconf('SC_PAGE_SIZE')
    except (ImportError, OSError):  # Windows, macOS
        return []
    return [most - used]
