"""DINOIRArch: any registered restoration backbone, guided by a frozen encoder (arXiv 2312.01677)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dinoir_plugin.core.constraints import Holds
from dinoir_plugin.core.construct import build_registered, construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import read
from dinoir_plugin.encoders.frozen import FrozenEncoder, frozen_encoder
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from dinoir_plugin.methods.dinoir.method import DINOIR, ENCODER
from dinoir_plugin.methods.dinoir.psf import PixelSemanticFusion

LAYERS = (
    'A name for each level, from shallow to deep, and the index of its block or stage, from zero: '
    '`{shallow: 3, medium: 7, deep: 11}`.'
)


@ARCH_REGISTRY.register()
class DINOIRArch(GuidedArch):
    """Guide a backbone by a frozen encoder at chosen places.

    The encoder is no submodule: its weights are in no state dict, optimizer, EMA copy or DDP bucket, and networks and
    losses with the same encoder options share one copy in memory.

    Args:
        backbone: ``type`` (any arch in BasicSR's registry) and that arch's arguments.
        encoder: ``name``, ``weights``, ``layers`` (a name for each level to the index of a block or stage, from
            zero, in the order of the experts) and ``model_args``; see
            :class:`~dinoir_plugin.encoders.encoder.Encoder`.
        guide_at: Submodules of the backbone whose outputs are guided; patterns such as ``decoder_level*`` allowed.
        psf: Arguments of :class:`~dinoir_plugin.methods.dinoir.psf.PixelSemanticFusion` but ``in_channels``.
        fusion: Arguments of :class:`~dinoir_plugin.methods.dinoir.dr_fusion.DRFusion` but the widths.

    Raises:
        OptionsError: With the path inside ``network_g``, e.g. ``encoder.layers.deep``.
    """

    method: DINOIR

    def __init__(
        self,
        backbone: Mapping[str, Any],
        encoder: Annotated[Mapping[str, Any], Holds(frozen_encoder, more={'layers': LAYERS})],
        guide_at: Sequence[str],
        psf: Annotated[Mapping[str, Any] | None, Holds(PixelSemanticFusion, given=('in_channels',))] = None,
        fusion: Annotated[Mapping[str, Any] | None, Holds(DRFusion, given=('channels', 'guide_channels'))] = None,
    ) -> None:
        network = build_registered(ARCH_REGISTRY, backbone, 'backbone')
        frozen, layers = build_encoder(encoder)
        widths = [frozen.widths[layer] for layer in layers.values()]
        module = construct(PixelSemanticFusion, 'psf', dict(psf or {}), in_channels=widths)
        super().__init__(network, DINOIR(frozen, layers, module, fusion), guide_at)

    @property
    def encoder(self) -> FrozenEncoder:
        """Give the frozen encoder."""
        return self.method.encoder

    @property
    def layers(self) -> dict[str, int]:
        """Give the levels' layers by name."""
        return self.method.layers

    @property
    def psf(self) -> PixelSemanticFusion:
        """Give the module that makes the guide."""
        return self.method.psf

    @property
    def psf_scores(self) -> Tensor | None:
        """Give the gate's scores in the last forward, (B, levels); None before the first."""
        return self.method.psf_scores


def build_encoder(options: Mapping[str, Any]) -> tuple[FrozenEncoder, dict[str, int]]:
    """Build the shared frozen encoder and read the named layers; OptionsErrors start with ``encoder``."""
    arguments = dict(options)
    layers = arguments.pop('layers', None)
    if not isinstance(layers, Mapping) or not layers:
        expected = 'expected a name and an index for each level, e.g. {shallow: 3, medium: 7, deep: 11}'
        raise OptionsError(f'{ENCODER}.layers', f'{expected}, got {layers!r}')
    encoder: FrozenEncoder = construct(frozen_encoder, ENCODER, arguments)
    levels: dict[str, int] = read(Mapping[str, int], layers, f'{ENCODER}.layers')
    for name, layer in levels.items():
        encoder.check_layers([layer], f'{ENCODER}.layers.{name}')
    return encoder, levels
