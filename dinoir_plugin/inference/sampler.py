"""How a trained network restores an image: in one pass, or in the steps of a procedure of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.outputs import as_outputs

# from an image (B, 3, H, W), and what else a network takes, to what it gives
Network = Callable[..., Any]


class Sampler(ABC):
    """Restore images with a network; made of the options under ``val.sampler``, which checkpoints carry."""

    @abstractmethod
    def restore(self, network: Network, lq: Tensor) -> Tensor:
        """Restore a batch, or tiles of one.

        Args:
            network: Takes images of the size of ``lq``, guided by what was found in the image as a whole.
            lq: Degraded, (B, 3, H, W), RGB in [0, 1].

        Returns:
            Restored, (B, 3, H, W), RGB.
        """


SAMPLERS: dict[str, type[Sampler]] = {}


def register_sampler(kind: type[Sampler]) -> type[Sampler]:
    """Enter a sampler under its name; a class decorator."""
    SAMPLERS[kind.__name__] = kind
    return kind


@register_sampler
class Feedforward(Sampler):
    """Restore in one pass."""

    def restore(self, network: Network, lq: Tensor) -> Tensor:
        """Call the network; see :meth:`Sampler.restore`."""
        return as_outputs(network(lq)).image


def build_sampler(options: Mapping[str, Any] | None, path: str = 'sampler') -> Sampler:
    """Make the sampler that ``type`` names, one pass where there are no options.

    Raises:
        OptionsError: There is none of that name, or it does not take the other options.
    """
    if not options:
        return Feedforward()
    kind = options.get('type')
    if kind not in SAMPLERS:
        raise OptionsError(f'{path}.type', f"there is no sampler '{kind}'", nearest(str(kind), SAMPLERS))
    arguments = {key: value for key, value in options.items() if key != 'type'}
    made: Sampler = construct(SAMPLERS[kind], path, arguments)
    return made
