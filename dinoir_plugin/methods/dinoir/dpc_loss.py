"""The DINO perception contrastive loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.encoders.frozen import FrozenEncoder, frozen_encoder
from dinoir_plugin.models.batch import Batch, FeatureCache, Wants
from dinoir_plugin.models.losses import StepLoss


@LOSS_REGISTRY.register()
class DPCLoss(StepLoss):
    r"""Compute the DINO perception contrastive loss (arXiv 2312.01677, eq. 6-7).

    .. math::
        L_{DINO} = \sum_i w_i \frac{1}{B} \sum_b
            \frac{\| f_i(out_b) - f_i(gt_b) \|_1}{\| f_i(out_b) - f_i(lq_b) \|_1}, \qquad
        L = L_1 + \lambda L_{DINO}, \quad \lambda = 1

    with f_i the features of the encoder's layer i and L1 the mean absolute difference. The output's features are drawn
    to the target's and away from the input's. The ratio is taken for each image and then averaged, so the loss
    does not depend on how a batch is shared out over ranks. Gradients flow through ``output`` only.

    What the paper leaves open, and what is done here: the layers and weights (options), and what keeps the ratio from
    growing without bound where the output still equals the input, as in the first steps of a network that predicts a
    residual. Two means, which may be combined: the denominator never falls below ``floor`` times the distance of ``gt``
    from ``lq``; there the ratio is at most ``1 / floor``, and as soon as the output has gone that far it is that of the
    paper. And the weight rises from zero over the first ``ramp`` iterations; from then on it is the paper's.

    Args:
        layers: The encoder's blocks or stages, from zero.
        layer_weights: w_i, one for each layer; all 1 / len(layers) when left out.
        loss_weight: Factor of the whole.
        encoder: Options of the encoder (``name``, ``weights``, ``model_args``; ``layers`` is for guidance and not
            read here) or a
            :class:`~dinoir_plugin.encoders.frozen.FrozenEncoder`. In a run, the network's where the options leave
            it out.
        floor: Least denominator, as a share of the distance of ``gt`` from ``lq``, from 0.
        eps: Added to the denominator, in units of the features: all that bounds the ratio without ``floor``, and of use
            for images without degradation with it.
        ramp: Iterations over which the weight rises evenly to ``loss_weight``; 0: none. It is told the iteration by
            :meth:`begin`; before that the weight is the whole one.

    Raises:
        OptionsError: No encoder, a layer that does not exist, weights that do not match the layers.
    """

    capturable = True
    risen: Tensor

    def __init__(
        self,
        layers: Sequence[int],
        layer_weights: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        encoder: Mapping[str, Any] | FrozenEncoder | None = None,
        floor: float = 0.0,
        eps: float = 1e-3,
        ramp: int = 0,
    ) -> None:
        super().__init__()
        if encoder is None:
            raise OptionsError('encoder', 'the loss needs an encoder, got none',
                               'Give it, e.g. encoder: {name: vit_base_patch14_dinov2, weights: auto}')
        if isinstance(encoder, FrozenEncoder):
            self.encoder = encoder
        else:
            options = {key: value for key, value in encoder.items() if key != 'layers'}
            self.encoder = construct(frozen_encoder, 'encoder', options)
        self.layers = self.encoder.check_layers(layers)
        weights = [1.0 / len(self.layers)] * len(self.layers) if layer_weights is None else list(layer_weights)
        if len(weights) != len(self.layers):
            raise OptionsError(
                'layer_weights', f'expected {len(self.layers)} numbers, one a layer, got {len(weights)}'
            )
        self.layer_weights = [float(weight) for weight in weights]
        self.loss_weight = loss_weight
        if not 0 <= floor <= 1:
            raise OptionsError('floor', f'expected a number from 0 to 1, got {floor}')
        self.floor = floor
        self.eps = eps
        if ramp < 0:
            raise OptionsError('ramp', f'expected a number of iterations from 0, got {ramp}')
        self.ramp = ramp
        # a tensor: a recorded step reads it anew
        self.register_buffer('risen', torch.ones(()), persistent=False)

    def begin(self, iteration: int) -> None:
        """Set the weight of an iteration, counted from 1."""
        if self.ramp:
            self.risen.fill_(min(1.0, iteration / self.ramp))

    def forward(self, output: Tensor, gt: Tensor, lq: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            output: Restored, (B, 3, H, W), RGB in [0, 1] (values outside are taken as they are).
            gt: Target, the same shape and range.
            lq: Degraded input, the same shape and range.

        Returns:
            A scalar.
        """
        features = FeatureCache({'gt': gt, 'lq': lq}, [('gt', self.wants()), ('lq', self.wants())])
        return self.of_step(Outputs(output), Batch(lq, gt, features=features))

    def wants(self) -> Wants:
        """Name the layers that are compared."""
        return {self.encoder: self.layers}

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a step, on features of ``lq`` and ``gt`` that are there already."""
        gt, lq = (batch.features.read(self.encoder, name, self.layers) for name in ('gt', 'lq'))
        return self.from_features(batch.pad(outputs.image), gt, lq)

    def from_features(self, output: Tensor, gt: Mapping[int, Tensor], lq: Mapping[int, Tensor]) -> Tensor:
        """Compute the loss on features of ``gt`` and ``lq`` that are there already.

        Args:
            output: Restored, (B, 3, H, W), RGB in [0, 1].
            gt: Layer to (B, C, h, w) for at least ``layers``; the same for ``lq``.
            lq: See ``gt``.

        Returns:
            A scalar.
        """
        features = self.encoder(output, self.layers)
        total = output.new_zeros(())
        for layer, weight in zip(self.layers, self.layer_weights):
            positive = _distance(features[layer], gt[layer])
            negative = _distance(features[layer], lq[layer])
            if self.floor:
                negative = torch.maximum(negative, self.floor * _distance(gt[layer], lq[layer]))
            total = total + weight * (positive / (negative + self.eps)).mean()
        return self.loss_weight * (total * self.risen if self.ramp else total)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DPCLoss:
        """Take the encoder along where ``.to()`` and the like go, though it is no submodule."""
        super()._apply(fn, recurse)
        self.encoder.follow(fn)
        return self


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Compute the mean absolute difference of each sample, (B,)."""
    return (a - b).abs().mean(dim=(1, 2, 3))
