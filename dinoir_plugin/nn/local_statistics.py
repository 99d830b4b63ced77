"""Local statistics at test time: channel attention that looks no further than it did in training.

Channel attention sums over all pixels that it is given. In training that is a patch, in use a whole image, whose
sums are others. Chu et al. (Improving Image Restoration by Revisiting Global Information Aggregation, ECCV 2022, arXiv
2112.04491: test-time local converter, TLC) take the sums over windows of about 1.5 times the patch instead.

Here a window is a tile of the feature: windows overlap and are faded into each other as the tiles of
:mod:`~dinoir_plugin.inference.tiling` are, in Restormer's attention, NAFNet's, and D-R fusion alike. Convolutions still
see the whole feature, so nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dinoir_plugin.core.tiles import Tile, slices, tiles

OVERLAP = 4  # windows overlap by a side over this


class UsesStatistics(nn.Module):
    """Mix into modules that sum over all pixels of their input.

    Attributes:
        window_share: Height and width of a window over those of the network's input; None: all pixels together.
    """

    window_share: tuple[float, float] | None = None

    def over_windows(
        self, feature: Tensor, width: int, attend: Callable[[Tensor, Tile | None], Tensor]
    ) -> Tensor:
        """Apply ``attend`` to windows, or at once to all pixels where ``window_share`` is None.

        Args:
            feature: (B, H, W, C).
            width: D, of what ``attend`` gives.
            attend: From (B, h, w, C) and its place (None: all) to (B, h, w, D).

        Returns:
            (B, H, W, D).
        """
        if self.window_share is None:
            return attend(feature, None)
        height, across = feature.shape[1:3]
        tile = max(2, *(round(side * share) for side, share in zip((height, across), self.window_share)))
        result = feature.new_zeros(*feature.shape[:3], width)
        for window, rows, columns in tiles(height, across, tile, tile // OVERLAP):
            place = (slice(None), *slices(window))
            result[place] += attend(feature[place], window) * (rows[:, None] * columns)[..., None].to(feature)
        return result


def use_local_statistics(network: nn.Module, side: int | None) -> int:
    """Let the channel attentions of a network sum over windows.

    Args:
        network: Called with images (B, C, H, W).
        side: Of the windows, in pixels of its input; None: all pixels together again.

    Returns:
        How many modules this concerns.
    """
    concerned = [module for module in network.modules() if isinstance(module, UsesStatistics)]
    for handle in network.__dict__.pop('_local_statistics', []):
        handle.remove()
    for module in concerned:
        module.window_share = None
    if side is not None:

        def set_shares(net: nn.Module, inputs: tuple[Any, ...]) -> None:
            height, width = inputs[0].shape[-2:]
            for module in concerned:
                module.window_share = (min(side / height, 1.0), min(side / width, 1.0))

        network.__dict__['_local_statistics'] = [network.register_forward_pre_hook(set_shares)]
    return len(concerned)
