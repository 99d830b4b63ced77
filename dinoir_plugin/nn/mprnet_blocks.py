"""Blocks of MPRNet (Zamir et al., CVPR 2021, arXiv 2102.02808), written from the paper.

Parameter names are those of the authors' release. Features are (B, C, H, W).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from dinoir_plugin.nn.local_statistics import UsesStatistics

# Features of a U-Net's three levels, full size first.
Pyramid = tuple[Tensor, Tensor, Tensor]


class ChannelAttention(UsesStatistics):
    """Scale each channel by a number from 0 to 1 that the means of all channels give."""

    def __init__(self, width: int, reduction: int, bias: bool) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(width, width // reduction, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(width // reduction, width, 1, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, C, H, W)."""
        pixels = x.permute(0, 2, 3, 1)
        return self.over_windows(pixels, x.shape[1], lambda part, window: self._scaled(part)).permute(0, 3, 1, 2)

    def _scaled(self, pixels: Tensor) -> Tensor:
        means = pixels.mean(dim=(1, 2))[..., None, None]
        return pixels * self.conv_du(means).permute(0, 2, 3, 1)


class CAB(nn.Module):
    """Add to a feature two convolutions of it with channel attention (channel attention block)."""

    def __init__(self, width: int, kinds: Kinds) -> None:
        super().__init__()
        self.CA = ChannelAttention(width, kinds.reduction, kinds.bias)
        self.body = nn.Sequential(kinds.conv(width, width), kinds.activation, kinds.conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W)."""
        return x + self.CA(self.body(x))


class Kinds(NamedTuple):
    """Make the layers that the whole network makes alike.

    Attributes:
        kernel_size: Of the convolutions, odd.
        reduction: Channels over those between the two layers of a channel attention.
        bias: Whether convolutions have one; those around a change of size never do.
        activation: One module, whose one parameter all blocks share.
    """

    kernel_size: int
    reduction: int
    bias: bool
    activation: nn.PReLU

    def conv(self, width: int, out: int) -> nn.Conv2d:
        """Make a convolution that keeps the size."""
        return nn.Conv2d(width, out, self.kernel_size, padding=self.kernel_size // 2, bias=self.bias)

    def pointwise(self, width: int, out: int) -> nn.Conv2d:
        """Make a 1x1 convolution."""
        return nn.Conv2d(width, out, 1, bias=self.bias)

    def cabs(self, width: int, count: int = 2) -> nn.Sequential:
        """Make blocks in a row."""
        return nn.Sequential(*[CAB(width, self) for _ in range(count)])


class Down(nn.Module):
    """Halve the size (bilinear: the mean of 2x2 pixels), then change the width."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width, out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, width, H, W), even sides, to (B, out, H / 2, W / 2)."""
        return self.down(x)


class Up(nn.Module):
    """Double the size (bilinear) and change the width.

    The two commute, as neither adds a constant: the convolution comes first, on a quarter of the pixels.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False), nn.Conv2d(width, out, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, width, H, W) to (B, out, 2 H, 2 W)."""
        enlarge, convolve = self.up
        return enlarge(convolve(x))


class Encoder(nn.Module):
    """Take an image's features down to three levels; those of an earlier stage may be added to each (CSFF).

    Args:
        widths: Channels of the three levels.
        kinds: Of its layers.
        fuses: Whether features of an earlier stage come in.
    """

    def __init__(self, widths: tuple[int, int, int], kinds: Kinds, fuses: bool) -> None:
        super().__init__()
        self.encoder_level1 = kinds.cabs(widths[0])
        self.encoder_level2 = kinds.cabs(widths[1])
        self.encoder_level3 = kinds.cabs(widths[2])
        self.down12 = Down(widths[0], widths[1])
        self.down23 = Down(widths[1], widths[2])
        if fuses:
            self.csff_enc1 = kinds.pointwise(widths[0], widths[0])
            self.csff_enc2 = kinds.pointwise(widths[1], widths[1])
            self.csff_enc3 = kinds.pointwise(widths[2], widths[2])
            self.csff_dec1 = kinds.pointwise(widths[0], widths[0])
            self.csff_dec2 = kinds.pointwise(widths[1], widths[1])
            self.csff_dec3 = kinds.pointwise(widths[2], widths[2])

    def forward(self, x: Tensor, earlier: tuple[Pyramid, Pyramid] | None = None) -> Pyramid:
        """Encode (B, widths[0], H, W), sides that 4 divides; ``earlier`` are the levels of the stage before.

        The first of them come from its encoder, the others from its decoder.
        """
        level1 = self.encoder_level1(x)
        if earlier:
            level1 = level1 + self.csff_enc1(earlier[0][0]) + self.csff_dec1(earlier[1][0])
        level2 = self.encoder_level2(self.down12(level1))
        if earlier:
            level2 = level2 + self.csff_enc2(earlier[0][1]) + self.csff_dec2(earlier[1][1])
        level3 = self.encoder_level3(self.down23(level2))
        if earlier:
            level3 = level3 + self.csff_enc3(earlier[0][2]) + self.csff_dec3(earlier[1][2])
        return level1, level2, level3


class Decoder(nn.Module):
    """Take the three levels of an encoder up again."""

    def __init__(self, widths: tuple[int, int, int], kinds: Kinds) -> None:
        super().__init__()
        self.decoder_level1 = kinds.cabs(widths[0])
        self.decoder_level2 = kinds.cabs(widths[1])
        self.decoder_level3 = kinds.cabs(widths[2])
        self.skip_attn1 = CAB(widths[0], kinds)
        self.skip_attn2 = CAB(widths[1], kinds)
        self.up21 = Up(widths[1], widths[0])
        self.up32 = Up(widths[2], widths[1])

    def forward(self, encoded: Pyramid) -> Pyramid:
        """Decode to features of the same shapes."""
        level3 = self.decoder_level3(encoded[2])
        level2 = self.decoder_level2(self.up32(level3) + self.skip_attn2(encoded[1]))
        level1 = self.decoder_level1(self.up21(level2) + self.skip_attn1(encoded[0]))
        return level1, level2, level3


class ORB(nn.Module):
    """Add to a feature what blocks in a row and a convolution make of it (original resolution block)."""

    def __init__(self, width: int, num_cab: int, kinds: Kinds) -> None:
        super().__init__()
        self.body = kinds.cabs(width, num_cab).append(kinds._replace(bias=False).conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Change (B, C, H, W)."""
        return x + self.body(x)


class ORSNet(nn.Module):
    """Work at full size, with a level of the earlier stage's U-Net added after each block (original resolution subnet).

    Args:
        widths: Channels of the U-Net's levels.
        extra: Channels here beyond those of its first level.
        num_cab: Blocks in each of the three ORBs.
        kinds: Of its layers.
    """

    def __init__(self, widths: tuple[int, int, int], extra: int, num_cab: int, kinds: Kinds) -> None:
        super().__init__()
        full = widths[0] + extra
        self.orb1 = ORB(full, num_cab, kinds)
        self.orb2 = ORB(full, num_cab, kinds)
        self.orb3 = ORB(full, num_cab, kinds)
        self.up_enc1 = Up(widths[1], widths[0])
        self.up_dec1 = Up(widths[1], widths[0])
        self.up_enc2 = nn.Sequential(Up(widths[2], widths[1]), Up(widths[1], widths[0]))
        self.up_dec2 = nn.Sequential(Up(widths[2], widths[1]), Up(widths[1], widths[0]))
        self.conv_enc1 = kinds.pointwise(widths[0], full)
        self.conv_enc2 = kinds.pointwise(widths[0], full)
        self.conv_enc3 = kinds.pointwise(widths[0], full)
        self.conv_dec1 = kinds.pointwise(widths[0], full)
        self.conv_dec2 = kinds.pointwise(widths[0], full)
        self.conv_dec3 = kinds.pointwise(widths[0], full)

    def forward(self, x: Tensor, encoded: Pyramid, decoded: Pyramid) -> Tensor:
        """Change (B, C, H, W)."""
        x = self.orb1(x) + self.conv_enc1(encoded[0]) + self.conv_dec1(decoded[0])
        x = self.orb2(x) + self.conv_enc2(self.up_enc1(encoded[1])) + self.conv_dec2(self.up_dec1(decoded[1]))
        return self.orb3(x) + self.conv_enc3(self.up_enc2(encoded[2])) + self.conv_dec3(self.up_dec2(decoded[2]))


class SAM(nn.Module):
    """Make a stage's image, and weigh the features for the next stage by it (supervised attention module)."""

    def __init__(self, width: int, channels: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=bias)
        self.conv2 = nn.Conv2d(width, channels, 1, bias=bias)
        self.conv3 = nn.Conv2d(channels, width, 1, bias=bias)

    def forward(self, x: Tensor, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """Give the features, (B, C, H, W), and the restored image, (B, channels, H, W) like ``degraded``."""
        image = self.conv2(x) + degraded
        return x + self.conv1(x) * self.conv3(image).sigmoid(), image
