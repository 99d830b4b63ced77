"""The difficulty-adaptive perceptual loss of Perceive-IR (DPL, E12): near the target, far from what others restore."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dinoir_plugin.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from dinoir_plugin.nn.colours import normalised
from dinoir_plugin.nn.precision import full, no_autocast

# VGG-16's relu1_2, relu2_2, relu3_1 and relu3_3. The second is tapped before its ReLU in the release, which the ReLU
# then changes in place
LAYERS = ('relu1_2', 'relu2_2', 'relu3_1', 'relu3_3')
LAYER_WEIGHTS = (1 / 12, 1 / 6, 1 / 3, 1.0)
INPUT_WEIGHT = 2.0
HARD, VERY_HARD = 1.25, 0.75
LEAST = 1e-6
LEAST_ERROR = 1e-8  # of a PSNR


def difficulty_adaptive_loss(
    restored: Sequence[Tensor],
    gt: Sequence[Tensor],
    lq: Sequence[Tensor],
    proxies: Sequence[Sequence[Tensor]] = (),
    weights: Sequence[Tensor | None] | None = None,
    masks: Sequence[Tensor | None] | None = None,
    layer_weights: Sequence[float] = LAYER_WEIGHTS,
    floor: float = 0.0,
) -> Tensor:
    r"""Compare features of restored images with those of the target, relative to those of worse images.

    .. math::
        \sum_l w_l \frac{D(R, GT)}{\max(2 D(R, LQ) + \sum_p m_p \omega_p D(R, P_p), \epsilon)}

    with D the mean absolute difference of the features of level l, for each sample, then the mean over samples.

    Without a proxy the denominator goes to zero where the output comes near the input, and the loss beyond all bounds.
    ``floor`` holds it: the ratio is then at most ``1 / floor`` where the output equals the input.

    Args:
        restored: Features of each level, (B, C, h, w).
        gt: Those of the target.
        lq: Those of the degraded image.
        proxies: Those of images that other networks restored, for each of them.
        weights: For each proxy the weight of each sample, (B,); None: 1.
        masks: For each proxy whether it serves each sample, (B,); None: it does.
        layer_weights: w, one for each level.
        floor: Least denominator as a share of D(GT, LQ), beside epsilon; 0 as released.

    Returns:
        A scalar, float32 at least; gradients flow through ``restored``.

    Raises:
        ValueError: Lists of other lengths.
    """
    counts = {len(features) for features in (restored, gt, lq, layer_weights, *proxies)}
    if len(counts) != 1:
        raise ValueError(f'expected as many levels of all features and weights, got {sorted(counts)}')
    shares = _shares(len(proxies), weights, masks)
    total = []
    for level, weight in enumerate(layer_weights):
        own = restored[level]
        away = INPUT_WEIGHT * _distance(own, lq[level])
        for features, share in zip(proxies, shares):
            away = away + share * _distance(own, features[level])
        least = away.new_full((), LEAST)
        if floor:
            least = torch.maximum(least, floor * _distance(gt[level], lq[level]).detach())
        total.append(weight * _distance(own, gt[level]) / torch.maximum(away, least))
    return torch.stack(total).sum(dim=0).mean()


def difficulty(proxy: Tensor, gt: Tensor, reference: float | Tensor) -> Tensor:
    """Weigh what another network restored by how good it is.

    Args:
        proxy: (B, 3, H, W), RGB; clipped here.
        gt: The target, the same shape, RGB in [0, 1].
        reference: PSNR of the network in training, in dB, a number or (B,).

    Returns:
        (B,), 1.25 (hard) where the proxy's PSNR is that at most, otherwise 0.75 (very hard).
    """
    return torch.where(psnr(proxy, gt) <= reference, HARD, VERY_HARD)


def psnr(image: Tensor, gt: Tensor) -> Tensor:
    """Give the PSNR of each image, (B,), in dB, of images in [0, 1] that are clipped to it."""
    error = (full(image).clamp(0, 1) - full(gt)).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp_min(LEAST_ERROR).log10()


def seen_by_vgg(image: Tensor) -> Tensor:
    """Give images, (B, 3, H, W), RGB, as VGG is to see them: clipped and normalised by ImageNet's statistics."""
    return normalised(full(image).clamp(0, 1), IMAGENET_MEAN, IMAGENET_STD)


def _shares(
    count: int, weights: Sequence[Tensor | None] | None, masks: Sequence[Tensor | None] | None
) -> list[float | Tensor]:
    """Multiply weights and masks of each proxy."""
    shares: list[float | Tensor] = [1.0] * count
    for name, factors in (('weights', weights), ('masks', masks)):
        if factors is None:
            continue
        if len(factors) != count:
            raise ValueError(f'expected {name} of {count} proxies, got {len(factors)}')
        shares = [share if factor is None else share * factor for share, factor in zip(shares, factors)]
    return shares


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Compute the mean absolute difference of each sample, (B,)."""
    with no_autocast(a):
        return (full(a) - full(b)).abs().mean(dim=(1, 2, 3))
