"""PerceiveIRArch: any registered restoration backbone, or PerceiveIR, guided as in arXiv 2408.15994."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.constraints import Holds
from dinoir_plugin.core.construct import build_registered, construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs, as_outputs
from dinoir_plugin.encoders.frozen import FrozenEncoder
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.guidance.method import Encodings
from dinoir_plugin.methods.perceive_ir.degradation_code import CODE_DIM, code_extractor
from dinoir_plugin.methods.perceive_ir.method import ENCODER, PerceiveIRMethod
from dinoir_plugin.methods.perceive_ir.network_arch import PerceiveIR
from dinoir_plugin.methods.perceive_ir.prompt_guidance import prompt_guidance
from dinoir_plugin.methods.perceive_ir.semantics import Fit, Semantics, semantic_encoder

KEY = 'key'  # of an item: a second patch of the same degraded image
CODE, CODE_POSITIVE = 'code', 'code_positive'


@ARCH_REGISTRY.register()
class PerceiveIRArch(GuidedArch):
    """Guide a backbone by semantic vectors of a frozen encoder and by a degradation code that is learned.

    The backbone ``PerceiveIR`` is the authors' network and makes use of both by itself. Any other one is guided at
    chosen places.

    In training with a second patch of each image (``datasets.train.second_patch: true``) the outputs hold the codes of
    both patches, which :class:`~dinoir_plugin.methods.perceive_ir.perceive_ir_loss.CodeContrastLoss` compares.

    Args:
        backbone: ``type`` (any arch in BasicSR's registry) and that arch's arguments.
        encoder: Arguments of :func:`~dinoir_plugin.methods.perceive_ir.semantics.semantic_encoder`.
        guide_at: Submodules of the backbone whose outputs are guided; patterns such as ``decoder_level*`` allowed.
            Left out for ``PerceiveIR``.
        cfe: Arguments of :func:`~dinoir_plugin.methods.perceive_ir.degradation_code.code_extractor`, which makes the
            code. Not for ``PerceiveIR``, which has its own.
        pgm: Arguments of :func:`~dinoir_plugin.methods.perceive_ir.prompt_guidance.prompt_guidance` but the widths, for
            what guides at ``guide_at``.
        fit: How an image is made a square of 224 pixels for the encoder: ``squash`` (whole, as released) or ``crop``
            (its centre).
        semantics: What the encoder tells: ``class`` (a class token of each depth, as released) or ``spatial`` (ours:
            all patch tokens in their places, so that each part of an image is guided by what is there; needs
            ``squash``).

    Raises:
        OptionsError: With the path inside ``network_g``, e.g. ``encoder.layers``.
    """

    method: PerceiveIRMethod

    def __init__(
        self,
        backbone: Mapping[str, Any],
        encoder: Annotated[Mapping[str, Any], Holds(semantic_encoder)],
        guide_at: Sequence[str] = (),
        cfe: Annotated[Mapping[str, Any] | None, Holds(code_extractor)] = None,
        pgm: Annotated[
            Mapping[str, Any] | None,
            Holds(prompt_guidance, given=('channels', 'semantic_dim', 'degradation_dim')),
        ] = None,
        fit: Fit = 'squash',
        semantics: Semantics = 'class',
    ) -> None:
        network = build_registered(ARCH_REGISTRY, backbone, 'backbone')
        frozen, layers = construct(semantic_encoder, ENCODER, encoder)
        if pgm is not None and not guide_at:
            raise OptionsError('pgm', 'expected guide_at beside it, got none', 'Give one of them, or take pgm out')
        if isinstance(network, PerceiveIR):
            _check_own(network, frozen, cfe)
            method = PerceiveIRMethod(frozen, network.code_dim, None, layers, fit, pgm, semantics)
        else:
            options = dict(cfe or {})
            made = construct(code_extractor, 'cfe', options)
            width = options.get('output_dim', CODE_DIM)
            method = PerceiveIRMethod(frozen, width, made, layers, fit, pgm, semantics)
        super().__init__(network, method, guide_at)
        self.takes_items = tuple(dict.fromkeys((*self.takes_items, KEY)))

    @property
    def encoder(self) -> FrozenEncoder:
        """Give the frozen encoder."""
        return self.method.encoder

    @property
    def cfe(self) -> nn.Module:
        """Give the module that makes the code, the method's or the backbone's own."""
        own: nn.Module = self.backbone.get_submodule('cfe') if self.method.cfe is None else self.method.cfe
        return own

    def condition(self, lq: Tensor, encodings: Encodings | None = None) -> Condition:
        """Tell what guides the backbone, with the code in any case; arguments as :meth:`forward`."""
        found = super().condition(lq, encodings)
        return found if found.vector is not None else found._replace(vector=self.extract_code(lq))

    def extract_code(self, image: Tensor) -> Tensor:
        """Give the degradation code, (B, D), of unit length, of images, (B, 3, H, W), RGB in [0, 1], any size."""
        code: Tensor = self.cfe(self.padded(image))
        return code

    def forward(
        self, lq: Tensor, encodings: Encodings | None = None, key: Tensor | None = None, **others: Any
    ) -> Tensor | Outputs:
        """Restore.

        Args:
            lq: Degraded, (B, 3, H, W), RGB in [0, 1], any size.
            encodings: What :meth:`encode` gave for ``lq``, where the caller has it already.
            key: Another patch of the same degraded images, like ``lq``, in training.
            **others: For the backbone.

        Returns:
            As :class:`GuidedArch` gives it. Where ``key`` is given, Outputs with the codes ``code`` and
            ``code_positive`` of both.
        """
        condition = self.condition(lq, encodings)
        if key is not None and KEY in getattr(self.backbone, 'takes_items', ()):
            others[KEY] = key
        given = self.restored(lq, condition, **others)
        if key is None:
            return given
        outputs = as_outputs(given)
        codes = {CODE: condition.vector, CODE_POSITIVE: self.extract_code(key)}
        return outputs._replace(aux={**outputs.aux, **codes})


def _check_own(network: PerceiveIR, encoder: FrozenEncoder, cfe: Mapping[str, Any] | None) -> None:
    if cfe is not None:
        problem = 'expected none, as the backbone PerceiveIR makes the code by itself'
        raise OptionsError('cfe', problem, 'Use backbone.cfe_type and backbone.code_dim')
    if network.semantic_dim != encoder.widths[0]:
        expected = f'expected {encoder.widths[0]}, the width of {encoder.name}'
        raise OptionsError('backbone.semantic_dim', f'{expected}, got {network.semantic_dim}')
