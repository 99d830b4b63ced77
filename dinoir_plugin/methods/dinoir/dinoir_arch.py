"""DINOIRArch: any registered restoration backbone, guided by a frozen encoder (arXiv 2312.01677)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.construct import construct, registered
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.tiles import Tile
from dinoir_plugin.encoders.frozen import FrozenEncoder, frozen_encoder
from dinoir_plugin.guidance.attach import graft, guided_by
from dinoir_plugin.inference.padding import pad_to_multiple, size_multiple
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from dinoir_plugin.methods.dinoir.psf import PixelSemanticFusion


@ARCH_REGISTRY.register()
class DINOIRArch(nn.Module):
    """A backbone whose features are fused with those of a frozen encoder at chosen places.

    The encoder is no submodule: its weights are in no state dict, optimizer, EMA copy or DDP bucket, and networks and
    losses with the same encoder options share one copy in memory. The backbone is the submodule ``backbone`` with its
    own parameter names, so ``net.backbone.load_state_dict(official, strict=False)`` loads released weights.

    Args:
        backbone: ``type`` (any arch in BasicSR's registry) and that arch's arguments.
        encoder: ``name``, ``weights``, ``layers`` (a name for each level to the index of a block or stage, from
            zero, in the order of the experts; the first one's grid is the guide's) and ``model_args``; see
            :class:`~dinoir_plugin.encoders.encoder.Encoder`.
        guide_at: Submodules of the backbone whose outputs are guided; patterns such as ``decoder_level*`` allowed.
        psf: Arguments of :class:`~dinoir_plugin.methods.dinoir.psf.PixelSemanticFusion` but ``in_channels``.
        fusion: Arguments of :class:`~dinoir_plugin.methods.dinoir.dr_fusion.DRFusion` but the widths.

    Attributes:
        psf_scores: The gate's scores in the last forward, (B, levels), without gradient; None before the first.

    Raises:
        OptionsError: With the path inside ``network_g``, e.g. ``encoder.layers.deep``.
    """

    psf_scores: Tensor | None

    def __init__(
        self,
        backbone: Mapping[str, Any],
        encoder: Mapping[str, Any],
        guide_at: Sequence[str],
        psf: Mapping[str, Any] | None = None,
        fusion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone)
        self.size_multiple = size_multiple(self.backbone)
        self.encoder, self.layers = build_encoder(encoder)
        widths = [self.encoder.widths[layer] for layer in self.layers.values()]
        self.psf = construct(PixelSemanticFusion, 'psf', dict(psf or {}), in_channels=widths)
        guide_channels = self.psf.dim
        self.guided = graft(
            self.backbone,
            guide_at,
            lambda channels: construct(
                DRFusion, 'fusion', dict(fusion or {}), channels=channels, guide_channels=guide_channels
            ),
        )
        self.psf_scores = None

    def encode(self, image: Tensor, extra_layers: Sequence[int] = ()) -> dict[int, Tensor]:
        """The encoder's features of a batch, for :meth:`forward` and for losses that need them too.

        Args:
            image: (B, 3, H, W), RGB in [0, 1]; padded as for the backbone, so that both see one image.
            extra_layers: Layers wanted besides those of the guidance.

        Returns:
            Index to (B, C, h, w).
        """
        return self.encoder(self.padded(image), (*self.layers.values(), *extra_layers))

    def forward(self, lq: Tensor, features: Mapping[int, Tensor] | None = None) -> Tensor:
        """Restore.

        Args:
            lq: Degraded, (B, 3, H, W), RGB in [0, 1], any size the backbone takes (Restormer: any).
            features: What :meth:`encode` gave for ``lq``, where the caller has it already.

        Returns:
            Restored, (B, 3, H, W), RGB, not clipped. A backbone that enlarges gives its scale times H and W.
        """
        image = self.padded(lq)
        guide = self.guide(lq, features)
        with guided_by(self.backbone, guide):
            output = self.backbone(image)
        scale = output.shape[-1] // image.shape[-1]
        return output[..., : lq.shape[-2] * scale, : lq.shape[-1] * scale]

    def guide(self, lq: Tensor, features: Mapping[int, Tensor] | None = None) -> Tensor:
        """What steers the backbone, (B, dim, h, w) on the encoder's grid. Arguments as :meth:`forward`."""
        if features is None:
            with torch.no_grad():
                features = self.encode(lq)
        guide: Tensor
        guide, scores = self.psf([features[layer] for layer in self.layers.values()])
        if not torch.compiler.is_exporting():
            self.psf_scores = scores.detach()
        return guide

    def by_window(self, image: Tensor) -> Callable[[Tensor, Tile], Tensor]:
        """Look at a whole image once, and restore parts of it.

        Args:
            image: (B, 3, H, W), RGB in [0, 1], as :meth:`padded` gives it.

        Returns:
            From a part (B, 3, h, w) and where it lies to the restored part, guided by its share of the image's
            features. The borders of parts are multiples of ``size_multiple``.
        """
        guide = self.guide(image)

        def restore(part: Tensor, window: Tile) -> Tensor:
            with guided_by(self.backbone, guide, window):
                restored: Tensor = self.backbone(part)
            return restored

        return restore

    def padded(self, image: Tensor) -> Tensor:
        """``image`` as the backbone sees it: mirrored at the right and bottom up to its ``size_multiple``."""
        return pad_to_multiple(image, self.size_multiple)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DINOIRArch:
        """Where ``.to()``, ``.cuda()`` and the like arrive: the encoder moves along, though it is no submodule."""
        super()._apply(fn, recurse)
        self.encoder.follow(fn)
        return self


def build_backbone(options: Mapping[str, Any]) -> nn.Module:
    """Build a registered arch from ``type`` and its arguments; OptionsErrors start with ``backbone``."""
    arguments = dict(options)
    kind = registered(ARCH_REGISTRY, options, 'backbone')
    arguments.pop('type')
    return construct(kind, 'backbone', arguments)


def build_encoder(options: Mapping[str, Any]) -> tuple[FrozenEncoder, dict[str, int]]:
    """The shared frozen encoder and the named layers; OptionsErrors start with ``encoder``."""
    arguments = dict(options)
    layers = arguments.pop('layers', None)
    if not isinstance(layers, Mapping) or not layers:
        expected = 'expected a name and an index for each level, e.g. {shallow: 3, medium: 7, deep: 11}'
        raise OptionsError('encoder.layers', f'{expected}, got {layers!r}')
    encoder = construct(frozen_encoder, 'encoder', arguments)
    for name, layer in layers.items():
        encoder.check_layers([layer], f'encoder.layers.{name}')
    return encoder, dict(layers)
