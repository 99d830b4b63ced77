"""WGWS-Net (Zhu et al., CVPR 2023): weather-general and weather-specific features, written from the paper.

A U-Net of residual dense blocks learns all weathers in stage 1. In stage 2 its convolutions are frozen and each gets a
branch for every weather, of which a flag chooses. Parameter names are those of the authors' release, so their weights
load with ``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.wgws_blocks import AFF, FAM, SCM, BasicConv, Flag, Level, WeatherConv


@ARCH_REGISTRY.register(suffix='basicsr')
class WGWSNet(nn.Module):
    """Restore with WGWS-Net, with the authors' parameter names.

    Convolutions of stage 1 have a bias, those of stage 2 none: ``path.strict_load_g: false`` takes the weights of a
    stage-1 network into stage 2 and leaves these biases (168 of the release) behind, as the authors do.

    Args:
        base_channel: Width at full size; it doubles with each of the two halvings.
        stage: 1: one network for all weathers. 2: frozen, with a branch for each weather.
        kernel_size: Side of the branches' convolutions, 1 or 3 (at most that of the convolution).
        num_weathers: How many branches each convolution has.
        num_res: Residual dense blocks in each level; the authors' argument of this name is without effect, always 6.
        flag: Which branches count where a call does not say it, a number for each; default: the first one alone.
        weathers: Names of the branches, those of the data sets' tasks, for :meth:`flag_of`.

    Attributes:
        size_multiple: Sides are padded to multiples of this.
        takes_items: What a training step hands on to :meth:`forward`.

    Raises:
        OptionsError: ``flag`` or ``weathers`` of another length, or two of one name.
    """

    size_multiple = 4
    takes_items = ('flag',)

    def __init__(
        self,
        base_channel: int = 18,
        stage: Literal[1, 2] = 2,
        kernel_size: Literal[1, 3] = 1,
        num_weathers: int = 3,
        num_res: int = 6,
        flag: Sequence[float] | None = None,
        weathers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if weathers and (len(weathers) != num_weathers or len(set(weathers)) != num_weathers):
            problem = f'expected {num_weathers} different names, as many as num_weathers, got {list(weathers)}'
            raise OptionsError('weathers', problem)
        self.stage = stage
        self.weathers = tuple(weathers)
        self.num_weathers = num_weathers
        self.flag = _flag([1, *[0] * (num_weathers - 1)] if flag is None else flag, num_weathers)

        def make(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Module:
            if stage == 1:
                return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)
            return WeatherConv(in_channels, out_channels, kernel, stride, kernel_size, num_weathers)

        full, half, quarter = base_channel, base_channel * 2, base_channel * 4
        self.Encoder = nn.ModuleList(Level(width, num_res, make) for width in (full, half, quarter))
        self.feat_extract = nn.ModuleList(
            [
                BasicConv(make(3, full, 3, 1)),
                BasicConv(make(full, half, 3, 2)),
                BasicConv(make(half, quarter, 3, 2)),
                BasicConv(nn.ConvTranspose2d(quarter, half, 4, 2, 1)),
                BasicConv(nn.ConvTranspose2d(half, full, 4, 2, 1)),
                BasicConv(make(full, 3, 3, 1), activated=False),
            ]
        )
        self.Decoder = nn.ModuleList(Level(width, num_res, make) for width in (quarter, half, full))
        self.Convs = nn.ModuleList([BasicConv(make(quarter, half, 1, 1)), BasicConv(make(half, full, 1, 1))])
        self.AFFs = nn.ModuleList(AFF(full + half + quarter, width, make) for width in (full, half, quarter))
        self.FAM1, self.SCM1 = FAM(quarter, make), SCM(quarter, make)
        self.FAM2, self.SCM2 = FAM(half, make), SCM(half, make)
        if stage == 2:
            for place in (3, 4):
                self.feat_extract[place].requires_grad_(False)

    def flag_of(self, weather: str) -> Flag:
        """Give the flag of one weather by its name.

        Raises:
            OptionsError: ``weathers`` has no such name.
        """
        if weather not in self.weathers:
            problem = f"there is no branch for the task '{weather}'"
            raise OptionsError('weathers', problem, nearest(weather, self.weathers) if self.weathers else 'Name all')
        return tuple(float(name == weather) for name in self.weathers)

    def indicators(self, flag: Sequence[float]) -> Tensor:
        """Give the indicators of the branches that a flag chooses, (number of convolutions * branches,); stage 2."""
        convs = [module for module in self.modules() if isinstance(module, WeatherConv)]
        chosen = [number for number, share in enumerate(flag, start=1) if share]
        return torch.cat([conv.indicator(number) for number in chosen for conv in convs])

    def forward(self, x: Tensor, flag: Sequence[float] | None = None) -> Tensor:
        """Restore.

        Args:
            x: (B, 3, H, W), RGB in [0, 1] by custom; any size.
            flag: Stage 2: a number for each branch, by which it counts: (0, 1, 0) is the second weather, zeros the
                general features alone, several ones add up. None: the network's own. Stage 1 takes no flag.

        Returns:
            (B, 3, H, W), not clipped.

        Raises:
            ValueError: A flag of another length, or one for stage 1.
        """
        if flag is not None and self.stage == 1:
            raise ValueError('expected no flag: a network of stage 1 has no branches')
        chosen = self.flag if flag is None else _flag(flag, self.num_weathers)
        height, width = x.shape[-2:]
        image = pad_to_multiple(x, self.size_multiple).contiguous(memory_format=torch.channels_last)
        skips, z = self._encoded(image, chosen)
        z = self.feat_extract[3](self.Decoder[0](z, chosen), chosen)
        z = self.Convs[0](torch.cat([z, skips[1]], dim=1), chosen)
        z = self.feat_extract[4](self.Decoder[1](z, chosen), chosen)
        z = self.Convs[1](torch.cat([z, skips[0]], dim=1), chosen)
        restored = self.feat_extract[5](self.Decoder[2](z, chosen), chosen) + image
        return restored[..., :height, :width]

    def _encoded(self, image: Tensor, flag: Flag) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Give what decoder levels at full and half size take in, and the feature at a quarter of the size."""
        first = self.Encoder[0](self.feat_extract[0](image, flag), flag)
        beside = self.SCM2(_every(image, 2), flag)
        second = self.Encoder[1](self.FAM2(self.feat_extract[1](first, flag), beside, flag), flag)
        beside = self.SCM1(_every(image, 4), flag)
        third = self.Encoder[2](self.FAM1(self.feat_extract[2](second, flag), beside, flag), flag)
        doubled = _repeated(third)
        z = self.AFFs[2]((_every(first, 4), _every(second, 2), third), flag)
        middle = self.AFFs[1]((_every(first, 2), second, doubled), flag)
        top = self.AFFs[0]((first, _repeated(second), _repeated(doubled)), flag)
        return (top, middle), z


def _every(x: Tensor, step: int) -> Tensor:
    """Shrink (B, C, H, W) to the nearest: every second or fourth pixel from the first one on."""
    return x[..., ::step, ::step]


def _repeated(x: Tensor) -> Tensor:
    """Enlarge (B, C, H, W) twofold to the nearest."""
    return F.interpolate(x, scale_factor=2, mode='nearest')


def _flag(flag: Sequence[float], count: int) -> Flag:
    if len(flag) != count:
        raise OptionsError('flag', f'expected {count} numbers, one for each of num_weathers, got {list(flag)}')
    return tuple(float(share) for share in flag)
