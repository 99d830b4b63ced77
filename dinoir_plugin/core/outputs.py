"""What a restoration network gives: an image, and in training whatever else its losses look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Hold what a network gives for a batch.

    Attributes:
        image: Restored, (B, 3, H, W), RGB, not clipped.
        stages: Images of earlier stages, in the same shape, last stage first (MPRNet's three stages are ``image`` and
            two of these). Losses of images are taken of each.
        aux: Name to what else a loss reads (AirNet's logits).
    """

    image: Tensor
    stages: tuple[Tensor, ...] = ()
    aux: Mapping[str, Any] = {}

    @property
    def images(self) -> tuple[Tensor, ...]:
        """Give the image and those of the earlier stages."""
        return (self.image, *self.stages)

    def map(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        """Apply ``change`` to the image and to those of the stages."""
        return self._replace(image=change(self.image), stages=tuple(change(stage) for stage in self.stages))


def as_outputs(given: Any) -> Outputs:
    """Read what a network's forward returned.

    Args:
        given: Outputs, a tensor, or a list or tuple of tensors, the final image first (as MPRNet's authors have it).

    Raises:
        TypeError: It is something else.
    """
    if isinstance(given, Outputs):
        return given
    if isinstance(given, Tensor):
        return Outputs(given)
    if isinstance(given, (list, tuple)) and given and all(isinstance(entry, Tensor) for entry in given):
        return Outputs(given[0], tuple(given[1:]))
    raise TypeError(f'expected an image (B, 3, H, W) from the network, or a list of images, got {type(given).__name__}')
