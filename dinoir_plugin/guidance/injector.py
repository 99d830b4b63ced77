"""The place where guidance meets a feature."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from dinoir_plugin.guidance.condition import Condition


class Injector(nn.Module):
    """Take a backbone's feature and what a method knows, and give the guided feature."""

    @abstractmethod
    def forward(self, feature: Tensor, condition: Condition) -> Tensor:
        """Guide.

        Args:
            feature: (B, C, H, W).
            condition: Of the same images.

        Returns:
            The same shape.
        """
