"""DINO-IR as its paper's equations are written, on the weights of a package network.

A textbook backbone, the guide upsampled to full size, and a contrastive loss that encodes output, target and input each
by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dinoir_plugin.testing.textbook.dr_fusion import direct_dr_fusion
from dinoir_plugin.testing.textbook.restormer import textbook_restormer


def textbook_dinoir(net: Any, image: Tensor) -> Tensor:
    """Run a DINOIRArch with a Restormer on (B, 3, H, W), RGB in [0, 1], whose sides 8 divides."""
    with torch.no_grad():
        features = net.encoder(image, tuple(net.layers.values()))
    if net.psf.literal:
        features = {layer: net.encoder.normalised(feature) for layer, feature in features.items()}
    guide, _ = net.psf([features[layer] for layer in net.layers.values()])

    def fuse(level: Any, x: Tensor) -> Tensor:
        return direct_dr_fusion(level.guidance.fusion, x, guide) if hasattr(level, 'guidance') else x

    return textbook_restormer(net.backbone, image, fuse)


def textbook_dpc(loss: Any, output: Tensor, gt: Tensor, lq: Tensor) -> Tensor:
    """Compute eq. 6-7 with encoder and weights of a DPCLoss, in three encoder passes; images (B, 3, H, W) in [0, 1]."""
    with torch.no_grad():
        targets, inputs = loss.encoder(gt, loss.layers), loss.encoder(lq, loss.layers)
    outputs = loss.encoder(output, loss.layers)
    total = output.new_zeros(())
    for layer, weight in zip(loss.layers, loss.layer_weights):
        positive = (outputs[layer] - targets[layer]).abs().mean(dim=(1, 2, 3))
        negative = (outputs[layer] - inputs[layer]).abs().mean(dim=(1, 2, 3))
        negative = torch.maximum(negative, loss.floor * (targets[layer] - inputs[layer]).abs().mean(dim=(1, 2, 3)))
        total = total + weight * (positive / (negative + loss.eps)).mean()
    return loss.loss_weight * total
