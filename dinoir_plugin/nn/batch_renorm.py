"""Batch normalisation with the running statistics of BRDNet's released code."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BatchRenorm2d(nn.BatchNorm2d):
    """Normalise over batch and pixels as the layer of BRDNet's release does.

    Batch renormalisation (Ioffe, arXiv 1702.03275) corrects a batch's statistics towards the running ones, by factors
    within limits that open in the course of the training. In the release the limits are read once, when the graph is
    built, and stay shut: what is left is batch normalisation. Its running variance differs from PyTorch's: of the
    biased variance, with eps added, and with eps added once more in evaluation. The averages have no bias towards
    their start (Kingma and Ba, arXiv 1412.6980, section 3): the first batch replaces them.

    Args:
        channels: Of the feature.
        eps: Added to variances.
        decay: Of the running averages.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-3, decay: float = 0.99) -> None:
        super().__init__(channels, eps=eps)
        self.decay = decay

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        # with a momentum of 1 these are the batch's own statistics afterwards, its variance unbiased
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        out = F.batch_norm(x, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        count = x.numel() // x.shape[1]
        variance = variance * ((count - 1) / count) + self.eps
        self.num_batches_tracked.add_(1)
        # a tensor, as reading the number of a step would stop a GPU
        share = (1 - self.decay) / (1 - self.decay ** self.num_batches_tracked.to(mean.dtype))
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
        return out
