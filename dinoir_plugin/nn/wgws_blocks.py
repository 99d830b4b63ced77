"""Blocks of WGWS-Net (Zhu et al., CVPR 2023), written from the paper.

Parameter names are those of the authors' release. Features are (B, C, H, W). Every block takes the flag of the
weathers, a number for each branch, and hands it to its convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Flag = tuple[float, ...]
# from input and output channels, kernel and stride to a convolution
MakeConv = Callable[[int, int, int, int], nn.Module]

# where an indicator lies at first, and what it has to reach for its branch to count
FIRST_INDICATOR, THRESHOLD = 0.15, 0.1


class WeatherConv(nn.Module):
    """Convolve with frozen weights and, for each weather of the flag, with a learned residual.

    A residual counts where its indicator is 0.1 or more; the gradient of the indicator is that of a factor (straight
    through). The convolutions of one input are one convolution with the sum of their kernels, a 1x1 kernel being the
    middle of a 3x3 one.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        kernel: Side of the frozen kernel, odd; padded with zeros by half of that.
        stride: Of the convolution.
        residual_kernel: Side of the residuals' kernels, ``kernel`` at most, odd.
        branches: How many weathers.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, residual_kernel: int, branches: int
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        side = min(kernel, residual_kernel)
        self.border = (kernel - side) // 2
        # as torch starts a convolution; a stage-1 network's take their place
        self.weight = nn.Parameter(nn.Conv2d(in_channels, out_channels, kernel).weight.detach(), requires_grad=False)
        for number in range(1, branches + 1):
            residual = nn.Parameter(torch.zeros(out_channels, in_channels, side, side))
            self.register_parameter(f'B{number}_residual', residual)
            self.register_parameter(f'B{number}_indicator', nn.Parameter(torch.full((1,), FIRST_INDICATOR)))

    def forward(self, x: Tensor, flag: Flag) -> Tensor:
        """Convolve (B, C, H, W)."""
        return F.conv2d(x, self._kernel(flag), None, self.stride, self.padding)

    def indicator(self, number: int) -> Tensor:
        """Give the indicator of a branch, numbered from 1; (1,)."""
        return self.get_parameter(f'B{number}_indicator')

    def _kernel(self, flag: Flag) -> Tensor:
        kernel: Tensor = self.weight
        for number, share in enumerate(flag, start=1):
            indicator = self.indicator(number)
            # idle branches get zeros as gradient, not none, as with the authors: an optimizer's momentum moves them on
            if share or (indicator.requires_grad and torch.is_grad_enabled()):
                mask = (indicator >= THRESHOLD).to(indicator.dtype) + (indicator - indicator.detach())
                residual = F.pad(self.get_parameter(f'B{number}_residual'), (self.border,) * 4)
                kernel = kernel + share * mask * residual
        return kernel


class BasicConv(nn.Module):
    """Convolve, with a GELU behind unless told otherwise."""

    def __init__(self, layer: nn.Module, activated: bool = True) -> None:
        super().__init__()
        self.layer = layer
        self.activated = activated

    def forward(self, x: Tensor, flag: Flag) -> Tensor:
        """Change (B, C, H, W)."""
        out: Tensor = self.layer(x, flag) if isinstance(self.layer, WeatherConv) else self.layer(x)
        return F.gelu(out) if self.activated else out


class _Dense(nn.Module):
    """Put what a convolution gives behind its input."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = BasicConv(conv)

    def forward(self, x: Tensor, flag: Flag) -> Tensor:
        return torch.cat([x, self.conv(x, flag)], dim=1)


class RDBlock(nn.Module):
    """Add to a feature what three dense convolutions and a 1x1 make of it (residual dense block)."""

    def __init__(self, width: int, make: MakeConv) -> None:
        super().__init__()
        for place in range(3):
            self.add_module(f'conv{place}', _Dense(make(width * (place + 1), width, 3, 1)))
        self.LFF = BasicConv(make(width * 4, width, 1, 1), activated=False)

    def forward(self, x: Tensor, flag: Flag) -> Tensor:
        """Change (B, C, H, W)."""
        dense = x
        for place in range(3):
            dense = self.get_submodule(f'conv{place}')(dense, flag)
        return self.LFF(dense, flag) + x


class Level(nn.Module):
    """Apply residual dense blocks in a row."""

    def __init__(self, width: int, depth: int, make: MakeConv) -> None:
        super().__init__()
        self.depth = depth
        for place in range(1, depth + 1):
            self.add_module(f'layer{place}', RDBlock(width, make))

    def forward(self, x: Tensor, flag: Flag) -> Tensor:
        """Change (B, C, H, W)."""
        for place in range(1, self.depth + 1):
            x = self.get_submodule(f'layer{place}')(x, flag)
        return x


class AFF(nn.Module):
    """Fuse features of three levels, brought to one size."""

    def __init__(self, in_channels: int, width: int, make: MakeConv) -> None:
        super().__init__()
        self.conv1 = BasicConv(make(in_channels, width, 1, 1))
        self.conv2 = BasicConv(make(width, width, 3, 1), activated=False)

    def forward(self, features: Sequence[Tensor], flag: Flag) -> Tensor:
        """Take features (B, C_i, H, W) to (B, width, H, W)."""
        return self.conv2(self.conv1(torch.cat(list(features), dim=1), flag), flag)


class SCM(nn.Module):
    """Make features of a smaller image, which stands beside them as it is."""

    def __init__(self, width: int, make: MakeConv) -> None:
        super().__init__()
        self.layer1 = BasicConv(make(3, width // 4, 3, 1))
        self.layer2 = BasicConv(make(width // 4, width // 2, 1, 1))
        self.layer3 = BasicConv(make(width // 2, width // 2, 3, 1))
        self.layer4 = BasicConv(make(width // 2, width - 3, 1, 1))
        self.conv = BasicConv(make(width, width, 1, 1), activated=False)

    def forward(self, image: Tensor, flag: Flag) -> Tensor:
        """Take (B, 3, H, W) to (B, width, H, W)."""
        x = image
        layers: tuple[Any, ...] = (self.layer1, self.layer2, self.layer3, self.layer4)
        for layer in layers:
            x = layer(x, flag)
        return self.conv(torch.cat([image, x], dim=1), flag)


class FAM(nn.Module):
    """Add to a feature a convolution of its product with another."""

    def __init__(self, width: int, make: MakeConv) -> None:
        super().__init__()
        self.merge = BasicConv(make(width, width, 3, 1), activated=False)

    def forward(self, x: Tensor, other: Tensor, flag: Flag) -> Tensor:
        """Change (B, C, H, W)."""
        return x + self.merge(x * other, flag)
