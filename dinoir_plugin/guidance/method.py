"""A guidance method: what looks at the degraded image, and what it tells the backbone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dinoir_plugin.encoders.frozen import Frozen, FrozenEncoder
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.guidance.places import Feature

# what a frozen encoder gave: method's own business
Encodings = Any
# from an encoder and layers of it to their features of the degraded image, each (B, C, h, w)
ReadFeatures = Callable[[FrozenEncoder, Sequence[int]], Mapping[int, Tensor]]


class GuidanceMethod(nn.Module):
    """Join frozen encoders, a trained part and injectors to a method; all methods derive from it.

    Encoders are no submodules (:class:`~dinoir_plugin.encoders.frozen.Frozen`). The names of a method's own
    children must not be ``backbone``: in the state dict of the network they stand beside it.
    """

    def encoders(self) -> Mapping[str, Frozen[Any]]:
        """Name the frozen encoders by their option's key in ``network_g``; none by default."""
        return {}

    def wants(self) -> Mapping[FrozenEncoder, Sequence[int]]:
        """Name the layers of each encoder that :meth:`encode` reads, so that a step encodes an image once for all."""
        return {}

    def encode(self, image: Tensor, read: ReadFeatures | None = None) -> Encodings:
        """Run the frozen part, without gradients.

        Args:
            image: Degraded, (B, 3, H, W), RGB in [0, 1].
            read: Gives features of ``image`` that may be there already; None: the encoders are called.

        Returns:
            Tensors, or mappings, lists and tuples of them, with the batch as first axis.
        """
        return {}

    @abstractmethod
    def forward(self, encodings: Encodings) -> Condition:
        """Run the trained part; it is called inside the network's forward, so that DDP sees it."""

    @abstractmethod
    def injector(self, channels: int) -> Injector:
        """Make the injector for a feature of that width."""

    def injectors(self, places: Mapping[str, Feature]) -> dict[str, Injector]:
        """Make the injectors of a network, for methods to which it matters which places there are.

        Args:
            places: Name of a submodule to the feature that it gives, in the order of the network.

        Returns:
            The same names, to :meth:`injector` of each width by default.
        """
        return {name: self.injector(feature.channels) for name, feature in places.items()}

    def explain_misfit(self, state: Mapping[str, Tensor]) -> str:
        """Say why weights of an earlier version do not fit, as the end of 'the file ...'; empty where it does not know.

        Args:
            state: A state dict with the method's own names.
        """
        return ''

    def scalars(self) -> dict[str, Tensor]:
        """Give numbers of the last forward for the log, each a scalar without gradient; none by default."""
        return {}
