"""DA-CLIP's network (arXiv 2310.01018): a frozen CLIP whose image tower a trained copy of it controls.

Written from the paper's description; names of parameters are those of the authors' release, so
``daclip_ViT-B-32.pt`` loads with ``strict=True``.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor, nn

from dinoir_plugin.encoders.clip import CLIP, ImageTower, VisionTower


class _Outlets(nn.Module):
    """Let a linear layer read the tokens behind each block of a transformer, which do not change by it."""

    def __init__(self, transformer: nn.Module, width: int, layers: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.zero_modules = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        for parameter in self.zero_modules.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Take (B, N, width) to the same behind all blocks, and to what is read behind each, (B, N, width)."""
        found = []
        for block, outlet in zip(self.transformer.get_submodule('resblocks').children(), self.zero_modules):
            tokens = block(tokens)
            found.append(outlet(tokens))
        return tokens, found


class Controller(ImageTower):
    """Tell the degradation of an image, and what is to be added in CLIP's own image tower."""

    def __init__(
        self, embed_dim: int, image_size: int, patch_size: int, width: int, layers: int, head_width: int
    ) -> None:
        super().__init__(embed_dim, image_size, patch_size, width, layers, head_width)
        self.transformer = _Outlets(self.transformer, width, layers)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode.

        Args:
            image: (B, 3, image_size, image_size), RGB, normalised with CLIP's mean and deviation.

        Returns:
            The degradation, (B, embed_dim), not normalised, and what is read behind each block, (B, tokens, width).
        """
        tokens, found = self.transformer(self.embedded(image))
        return self.pooled(tokens), found

    def start_from(self, tower: VisionTower, as_released: bool = False) -> None:
        """Take over the weights of CLIP's tower, and add nothing there at first.

        Args:
            tower: CLIP's.
            as_released: Start as the authors' code does: the weights of the tower's last norm end up in the layer
                that is added behind CLIP's last block, a row for each output, and the controller's own last norm
                begins anew.
        """
        first, *others = self.transformer.get_submodule('zero_modules').parameters()
        inner = 'transformer.'
        state = {inner + name if name.startswith(inner) else name: value for name, value in tower.state_dict().items()}
        self.load_state_dict(state, strict=False)
        with torch.no_grad():
            for parameter in (first, *others):
                parameter.zero_()
            if as_released:
                first.copy_(tower.ln_post.weight.expand_as(first))
                others[0].copy_(tower.ln_post.bias)
                self.ln_post.reset_parameters()


class DACLIP(nn.Module):
    """Encode the content of a degraded image, like that of the clean one, and its degradation.

    CLIP is frozen; the controller and ``logit_scale`` are trained. What the controller reads behind its last block is
    added behind CLIP's first one and so on, in reverse order, as the released weights need it.

    The controller starts as a copy of CLIP's tower with zeros in the layers between, so that features are CLIP's own;
    ``visual_control.start_from(visual)`` makes it one again after CLIP's weights have been loaded.

    Args:
        embed_dim: Width of all embeddings.
        image_size: Side of an image in pixels.
        patch_size: Side of a patch.
        vision_width: Of the image's tokens.
        vision_layers: Blocks of the image tower.
        head_width: Of an attention head in the image tower.
        context_length: Tokens of a text at most.
        vocab_size: How many different ones there are.
        text_width: Of a text's tokens.
        text_heads: Attention heads of the text tower.
        text_layers: Blocks of the text tower.

    Attributes:
        clip: The frozen CLIP.
        visual: Its image tower; files hold it under both names.
        visual_control: The controller.
        logit_scale: Logarithm of the factor of cosines in the contrastive losses.

    Raises:
        OptionsError: Widths or sides do not divide.
    """

    def __init__(
        self,
        embed_dim: int = 512,
        image_size: int = 224,
        patch_size: int = 32,
        vision_width: int = 768,
        vision_layers: int = 12,
        head_width: int = 64,
        context_length: int = 77,
        vocab_size: int = 49408,
        text_width: int = 512,
        text_heads: int = 8,
        text_layers: int = 12,
    ) -> None:
        super().__init__()
        vision = (embed_dim, image_size, patch_size, vision_width, vision_layers, head_width)
        self.clip = CLIP(*vision, context_length, vocab_size, text_width, text_heads, text_layers)
        self.clip.requires_grad_(False)
        self.visual = self.clip.visual
        self.visual_control = Controller(*vision)
        self.visual_control.start_from(self.visual)
        self.logit_scale = nn.Parameter(self.clip.logit_scale.detach().clone())

    @overload
    def encode_image(self, image: Tensor, control: Literal[True] = True) -> tuple[Tensor, Tensor]: ...

    @overload
    def encode_image(self, image: Tensor, control: Literal[False]) -> Tensor: ...

    def encode_image(self, image: Tensor, control: bool = True) -> Tensor | tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            image: (B, 3, image_size, image_size), RGB, normalised with CLIP's mean and deviation.
            control: Whether the controller looks at the image as well.

        Returns:
            Content and degradation, (B, embed_dim) each, or CLIP's own features of that shape; not normalised.

        Raises:
            ValueError: The image has another size.
        """
        if not control:
            own: Tensor = self.visual(image)
            return own
        degradation, found = self.visual_control(image)
        return self.visual(image, found[::-1]), degradation

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encode texts, captions or words for degradations; see :meth:`CLIP.encode_text`."""
        return self.clip.encode_text(tokens)
