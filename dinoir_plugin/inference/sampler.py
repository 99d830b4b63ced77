"""How a trained network restores an image: in one pass, or in the steps of a procedure of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError, nearest, under
from dinoir_plugin.core.outputs import as_outputs


@dataclass(frozen=True)
class Network:
    """Hold a network ready to be called for images: guided by what was found in them, in tiles where it has to be.

    Attributes:
        call: From images (B, 3, H, W) and what else the network takes to what it gives.
        module: The network itself, for what it says of itself.
        names: Of the images' files, without folders and endings; empty where they are not known.
    """

    call: Callable[..., Any]
    module: nn.Module
    names: Sequence[str] = ()

    def __call__(self, image: Tensor, **others: Any) -> Any:
        """Call it; tensors among ``others`` that are images of that size are cut into tiles as well."""
        return self.call(image, **others)


class Sampler(ABC):
    """Restore images with a network; made of the options under ``val.sampler``, which checkpoints carry."""

    def check(self, network: nn.Module) -> None:  # noqa: B027 - most suit all networks
        """Raise an OptionsError where it does not suit the network; its path is relative to the sampler's options."""

    def calls(self, network: nn.Module) -> int:
        """Count how often it calls the network for an image."""
        return 1

    def trial(self) -> Sampler:
        """Give one that takes as much memory in as few calls as can be, for trials."""
        return self

    @abstractmethod
    def restore(self, network: Network, lq: Tensor) -> Tensor:
        """Restore a batch of images.

        Args:
            network: Takes images of the size of ``lq``, guided by what was found in these.
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


def sampler_for(network: nn.Module, options: Mapping[str, Any] | None, path: str = 'sampler') -> Sampler:
    """Make the sampler that restores with a network.

    Args:
        network: One that restores in its own way without options has these as its attribute ``restored_by``.
        options: Of the sampler; None: the network's own way, as a rule in one pass.
        path: Of the options, for errors.

    Raises:
        OptionsError: As :func:`build_sampler`, or it does not suit the network.
    """
    sampler = build_sampler(options or getattr(network, 'restored_by', None), path)
    with under(path):
        sampler.check(network)
    return sampler


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
