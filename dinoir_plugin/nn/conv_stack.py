"""Convolutions in a row, the plain networks DnCNN, FFDNet and IRCNN."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dinoir_plugin.core.errors import OptionsError, nearest

ACT_MODES = ('R', 'BR')
# of the networks in KAIR (github.com/cszn/KAIR), so that what was trained there gives the same here
NORM_EPS = 1e-4


def conv_stack(
    in_channels: int, out_channels: int, width: int, count: int, act_mode: str, dilations: Sequence[int] | None = None
) -> nn.Sequential:
    """Stack 3x3 convolutions with zeros around: the first and those between with a ReLU each, the last one bare.

    The layers are numbered in one row, as in KAIR. Weights start as He et al. (arXiv 1502.01852) propose for ReLUs, as
    the DnCNN paper (arXiv 1608.03981) has it; with PyTorch's own start the image fades away on 20 layers.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        width: Channels between.
        count: Of the convolutions, at least 2.
        act_mode: What follows each convolution between, ``R`` (ReLU) or ``BR`` (batch norm and ReLU).
        dilations: Of the convolutions; None: all 1.

    Returns:
        From (B, in_channels, H, W) to (B, out_channels, H, W).

    Raises:
        OptionsError: With the names of the networks' arguments, ``nb`` and ``act_mode``.
    """
    if count < 2:
        raise OptionsError('nb', f'expected at least 2 convolutions, got {count}')
    if act_mode not in ACT_MODES:
        raise OptionsError('act_mode', f"there is no '{act_mode}'", nearest(str(act_mode), ACT_MODES))
    first, *between, last = [1] * count if dilations is None else dilations
    layers: list[nn.Module] = [_convolution(in_channels, width, first), nn.ReLU(inplace=True)]
    for dilation in between:
        layers.append(_convolution(width, width, dilation))
        if act_mode == 'BR':
            layers.append(nn.BatchNorm2d(width, eps=NORM_EPS))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, _convolution(width, out_channels, last))


def _convolution(in_channels: int, out_channels: int, dilation: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity='relu')
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
