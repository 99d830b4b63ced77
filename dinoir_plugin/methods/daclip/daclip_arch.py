"""DACLIPArch: any registered restoration backbone, guided by a frozen DA-CLIP (arXiv 2310.01018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from basicsr.utils.registry import ARCH_REGISTRY

from dinoir_plugin.core.constraints import AtLeast, Holds
from dinoir_plugin.core.construct import build_registered, construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.guided_arch import BACKBONE, GuidedArch
from dinoir_plugin.methods.daclip.encoder import FrozenDACLIP, frozen_daclip
from dinoir_plugin.methods.daclip.method import ENCODER, DACLIPGuidance


@ARCH_REGISTRY.register()
class DACLIPArch(GuidedArch):
    """Guide a backbone by what a frozen DA-CLIP says of the content and the degradation of an image.

    A backbone that takes both by itself (:class:`~dinoir_plugin.methods.daclip.prompt_nafnet_arch.PromptNAFNet`) is
    given them. In any backbone places can be guided: a prompt that they share scales and shifts the channels, and the
    content shifts them; see :class:`~dinoir_plugin.methods.daclip.prompt.ContextInjection`. Guidance starts as nothing,
    so released weights of a backbone are of use.

    Args:
        backbone: ``type`` (any arch in BasicSR's registry) and that arch's arguments.
        daclip: ``name``, ``weights``, ``views`` and ``model_args`` of the frozen DA-CLIP.
        guide_at: Submodules of the backbone whose outputs are guided; patterns such as ``decoder_level*`` allowed. May
            be left out where the backbone takes both embeddings by itself.
        use_degra_context: Whether the degradation guides these places, by the prompt.
        use_image_context: Whether the content does.
        prompt_dim: Width of the prompt. The authors' U-Net has four times its own width, 256.

    Raises:
        OptionsError: With the path inside ``network_g``, e.g. ``daclip.weights``.
    """

    method: DACLIPGuidance

    def __init__(
        self,
        backbone: Mapping[str, Any],
        daclip: Annotated[Mapping[str, Any], Holds(frozen_daclip)],
        guide_at: Sequence[str] = (),
        use_degra_context: bool = True,
        use_image_context: bool = True,
        prompt_dim: Annotated[int, AtLeast(1)] = 256,
    ) -> None:
        if not (use_degra_context or use_image_context):
            raise OptionsError('use_image_context', 'expected true here or for use_degra_context, got false for both',
                               'A baseline is the backbone itself')  # fmt: skip
        network = build_registered(ARCH_REGISTRY, backbone, BACKBONE)
        encoder: FrozenDACLIP = construct(frozen_daclip, ENCODER, daclip)
        width = getattr(network, 'context_dim', encoder.width)
        if width != encoder.width:
            problem = f"expected {encoder.width}, the width of DA-CLIP's embeddings ({encoder.name}), got {width}"
            raise OptionsError(f'{BACKBONE}.context_dim', problem)
        prompt = prompt_dim if guide_at and use_degra_context else None
        super().__init__(network, DACLIPGuidance(encoder, prompt, use_image_context), guide_at)

    @property
    def encoder(self) -> FrozenDACLIP:
        """Give the frozen DA-CLIP."""
        return self.method.encoder
