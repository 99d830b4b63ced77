"""DINO-IR as its paper's equations are written: a textbook backbone, the guide upsampled to full size, and a
contrastive loss that encodes output, target and input each by itself. Works on the weights of a package network.
"""

import torch

from dinoir_plugin.testing.textbook.dr_fusion import direct_dr_fusion
from dinoir_plugin.testing.textbook.restormer import textbook_restormer


def textbook_dinoir(net, image):
    """The output of a DINOIRArch with a Restormer for an image whose sides 8 divides."""
    with torch.no_grad():
        features = net.encoder(image, tuple(net.layers.values()))
    guide, _ = net.psf([features[layer] for layer in net.layers.values()])

    def fuse(level, x):
        return direct_dr_fusion(level.guidance.fusion, x, guide) if hasattr(level, 'guidance') else x

    return textbook_restormer(net.backbone, image, fuse)


def textbook_dpc(loss, output, gt, lq):
    """Eq. 6-7 with the encoder and the weights of ``loss``, three encoder passes."""
    with torch.no_grad():
        targets, inputs = loss.encoder(gt, loss.layers), loss.encoder(lq, loss.layers)
    outputs = loss.encoder(output, loss.layers)
    total = 0.0
    for layer, weight in zip(loss.layers, loss.layer_weights):
        positive = (outputs[layer] - targets[layer]).abs().mean(dim=(1, 2, 3))
        negative = (outputs[layer] - inputs[layer]).abs().mean(dim=(1, 2, 3))
        total = total + weight * (positive / (negative + loss.eps)).mean()
    return loss.loss_weight * total
