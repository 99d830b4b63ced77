"""D-R adaption and fusion: the guide steers a restoration feature by attention between channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.injector import Injector
from dinoir_plugin.nn.local_statistics import UsesStatistics
from dinoir_plugin.nn.precision import full, no_autocast

ATTENTIONS = ('cosine', 'sqrt_channels')
NORM_EPS = 1e-12
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
    ``sum_n Up(k)(n) q(n) = sum_m k(m) Up^T(q)(m)``, and ``Up^T(W_q F) = W_q Up^T(F)``: keys, queries and their
    product live on the encoder's coarse grid. ``|Up(k)|^2`` follows from the small matrices Up^T Up of rows and
    columns, ``|W_q F|^2`` from the Gram matrix of F, and ``A F + F = (A + I) F`` is one product.

    - ``zero_start`` multiplies A by a learned factor for each channel that starts at zero (not in the paper): a
      backbone with released weights gives its own output in the first step, and guidance grows from there. Without it
      a feature of mean 1 changes by about that mean at the start.

    Args:
        channels: C, the restoration feature's width.
        guide_channels: The guide's width.
        attention: ``cosine`` or ``sqrt_channels``.
        zero_start: Whether guidance starts at nothing.

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
        if attention == 'cosine':
            self.temperature = nn.Parameter(torch.ones(1))
        if zero_start:
            self.strength = nn.Parameter(torch.zeros(channels, 1))
        self.zero_start = zero_start

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
            matrix = self.attention_matrix(part.permute(0, 3, 1, 2), known if inner is None else known.crop(inner))
            if self.zero_start:
                matrix = self.strength * matrix
            matrix = (matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)).to(part.dtype)
            return (part.flatten(1, 2) @ matrix.transpose(1, 2)).view_as(part)

        return self.over_windows(pixels, pixels.shape[-1], guided).permute(0, 3, 1, 2)

    def attention_matrix(self, feature: Tensor, condition: Condition) -> Tensor:
        """Compute A of eq. 5, (B, C, C), rows summing to 1, in float32 at least; arguments as :meth:`forward`."""
        batch, channels, height, width = feature.shape
        guide, rows, columns = condition.upsampling(GUIDE, height, width)
        rows, columns = rows.to(feature), columns.to(feature)
        keys = self.w_k(self.adapt(guide))
        # Up^T F, rows first: in channels_last this is one matrix product that reads the feature once
        coarse = rows.T @ feature.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
        coarse = torch.einsum('byxc,xu->byuc', coarse.view(batch, -1, width, channels), columns)
        queries = self.w_q(coarse).flatten(1, 2)
        logits = full(keys.flatten(2) @ queries)
        if self.attention == 'sqrt_channels':
            return (logits / channels**0.5).softmax(dim=-1)
        with no_autocast(feature):
            key_scale = _key_squares(full(keys), full(rows), full(columns)).clamp_min(NORM_EPS**2).rsqrt()
            query_scale = self._query_squares(full(feature)).clamp_min(NORM_EPS**2).rsqrt()
            logits = logits * key_scale[:, :, None] * query_scale[:, None, :]
            return (logits * self.temperature).softmax(dim=-1)

    def _query_squares(self, feature: Tensor) -> Tensor:
        """Compute ``|W_q F|^2`` of each query channel over space, (B, C), from the Gram matrix of F."""
        pixels = feature.permute(0, 2, 3, 1).flatten(1, 2)
        gram = pixels.transpose(1, 2) @ pixels
        weight = full(self.w_q.weight)
        return ((weight @ gram) * weight).sum(dim=-1)


def _key_squares(keys: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute ``|Up(k)|^2`` of each key channel over space, (B, C), from the coarse (B, C, h, w)."""
    return (keys * ((rows.T @ rows) @ keys @ (columns.T @ columns))).sum(dim=(-2, -1))
