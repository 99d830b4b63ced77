"""D-R adaption and fusion: the guide steers a restoration feature by attention between channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.methods.dinoir.steering import Steps, attention, steer
from dinoir_plugin.nn.local_statistics import UsesStatistics
from dinoir_plugin.nn.precision import no_autocast

ATTENTIONS = ('cosine', 'sqrt_channels')
GUIDE = 'guide'  # the map's name in a condition


class DRFusion(Injector, UsesStatistics):
    r"""Apply the paper's DINO-Restore adaption and fusion (arXiv 2312.01677, eq. 5).

    .. math::
        F_{DA} = \mathrm{Up}(\mathrm{adapt}(F_D)), \qquad
        A = \mathrm{softmax}(W_k F_{DA} \times (W_q F_I)^\top), \qquad
        F_{out} = A F_I + F_I                                                            \quad (5)

    with F_I the (C, HW) restoration feature, F_D the encoder's feature, Up bilinear, and A a (C, C) matrix: row i
    belongs to channel i of the adapted guide, column j to restoration channel j. Cost grows with C^2 HW.

    What the paper leaves open, and what is done here:

    - The softmax runs over the restoration channels (the columns), so each output channel is F_I's own plus a convex
      mix of restoration channels that a channel of the guide picks. The text calls DINO the query and the equation
      calls it the key; for the softmax this reading is the text's.
    - ``attention='cosine'`` divides the logits by the norms of both rows over space and multiplies by a learned
      temperature, as Restormer does. ``'sqrt_channels'`` is the literal ``/ sqrt(C)``; its logits grow with H * W, so
      a network trained on patches meets other logits on whole images.

    The full-size guide is never made. Upsampling is linear, so with Up^T its adjoint
    ``sum_n Up(k)(n) q(n) = sum_m k(m) Up^T(q)(m)``: keys, and their product with the queries, live on the encoder's
    coarse grid. ``|Up(k)|^2`` follows from the small matrices Up^T Up of rows and columns. See
    :mod:`~dinoir_plugin.methods.dinoir.steering`.

    - ``zero_start`` multiplies A by a learned factor for each channel that starts at zero (not in the paper): a
      backbone with released weights gives its own output in the first step, and guidance grows from there. Without it
      a feature of mean 1 changes by about that mean at the start.

    Args:
        channels: C, the restoration feature's width.
        guide_channels: The guide's width.
        attention: What divides the logits: ``cosine`` by both norms, with a learned temperature; ``sqrt_channels`` by
            the root of C, as the paper prints it.
        zero_start: Whether the network starts as its backbone alone, and guidance grows from nothing.

    Raises:
        OptionsError: ``attention`` is neither.
    """

    def __init__(self, channels: int, guide_channels: int, attention: str = 'cosine', zero_start: bool = False) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise OptionsError('attention', f"there is no attention '{attention}'", nearest(str(attention), ATTENTIONS))
        self.attention = attention
        self.adapt = nn.Conv2d(guide_channels, channels, 1)
        self.w_k = nn.Conv2d(channels, channels, 1, bias=False)
        self.w_q = nn.Linear(channels, channels, bias=False)
        self.temperature = nn.Parameter(torch.ones(1)) if attention == 'cosine' else None
        self.strength = nn.Parameter(torch.zeros(channels, 1)) if zero_start else None

    def forward(self, feature: Tensor, condition: Condition | Tensor) -> Tensor:
        """Guide a feature.

        Args:
            feature: F_I, (B, C, H, W); channels_last is the layout that needs no copy.
            condition: Its map ``guide`` is F_D, (B, guide_channels, h, w) on the encoder's grid; or F_D itself.

        Returns:
            F_out, (B, C, H, W), channels_last.
        """
        known = Condition({GUIDE: condition}) if isinstance(condition, Tensor) else condition
        pixels = feature.permute(0, 2, 3, 1)

        def guided(part: Tensor, inner: Tile | None) -> Tensor:
            return self._steered(steer, part, known if inner is None else known.crop(inner))

        return self.over_windows(pixels, pixels.shape[-1], guided).permute(0, 3, 1, 2)

    def attention_matrix(self, feature: Tensor, condition: Condition) -> Tensor:
        """Compute A of eq. 5, (B, C, C), rows summing to 1, in float32 at least; arguments as :meth:`forward`."""
        return self._steered(attention, feature.permute(0, 2, 3, 1), condition)

    def _steered(self, compute: Callable[..., Tensor], pixels: Tensor, condition: Condition) -> Tensor:
        guide, rows, columns = condition.upsampling(GUIDE, *pixels.shape[1:3])
        keys = self.w_k(self.adapt(guide)).to(pixels.dtype)
        with no_autocast(pixels):
            return compute(pixels, keys, self.w_q.weight, Steps(rows, columns), self.temperature, self.strength)
