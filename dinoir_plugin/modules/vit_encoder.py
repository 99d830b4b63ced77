"""A vision transformer as a feature encoder, true to the code that its weights were trained with."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.errors import OptionsError, nearest
from dinoir_plugin.modules.encoder_weights import load_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RANDOM_WEIGHTS_SEED = 0
# arguments with which timm reads files or the network on its own
NOT_OURS = ('pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'checkpoint_path', 'cache_dir', 'features_only')


class ViTEncoder(nn.Module):
    """Features of chosen transformer blocks, before the final norm.

    Any plain vision transformer of timm by name: DINOv2 with and without registers, CLIP image towers, and others
    that give features on one grid. For DINOv2 the position embeddings are resized as in Meta's code (see
    :func:`_dinov2_positions`), which timm does in another way. Inputs are normalised with the statistics that timm
    states for the model (ImageNet's for DINOv2); a side that the patch size does not divide is resized to the nearest
    multiple of it (bilinear), at least one patch.

    Args:
        name: timm's name of the model, e.g. ``vit_base_patch14_dinov2``.
        weights: ``auto`` (timm's download), ``random`` (from a fixed seed, with a warning), or a path to Meta's
            ``.pth`` or timm's ``.safetensors``.
        layers: Block indices from zero.
        model_args: Passed on to timm, e.g. ``{'depth': 4, 'embed_dim': 96}`` for tiny models in tests.

    Attributes:
        channels: Width of the features.
        depth: Number of blocks.
        patch_size: Side of a patch in pixels.

    Raises:
        OptionsError: Unknown name or argument, a layer that does not exist, weights that cannot be loaded. Its path
            is relative to the encoder's options (``name``, ``weights``, ``layers``, ``model_args``).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, weights: str, layers: Sequence[int], model_args: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.model: Any = _build(name, weights, dict(model_args or {}))
        self.channels: int = self.model.embed_dim
        self.depth: int = len(self.model.blocks)
        self.patch_size: int = self.model.patch_embed.patch_size[0]
        self.layers = self.check_layers(layers)
        config = self.model.pretrained_cfg
        for key, default in (('mean', IMAGENET_MEAN), ('std', IMAGENET_STD)):
            statistic = torch.tensor(config.get(key) or default).view(1, 3, 1, 1)
            self.register_buffer(key, statistic, persistent=False)
        self.eval()

    def check_layers(self, layers: Sequence[int], path: str = 'layers') -> tuple[int, ...]:
        """``layers`` as a tuple, or an OptionsError that says the valid range."""
        wrong = [i for i in layers if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < self.depth]
        if wrong or not layers:
            raise OptionsError(
                path,
                f'expected block indices from 0 to {self.depth - 1} ({self.name} has {self.depth} blocks), '
                f'got {wrong[0] if wrong else "none"}',
                'Choose blocks that exist',
            )
        return tuple(layers)

    def forward(self, image: Tensor, layers: Sequence[int] | None = None) -> dict[int, Tensor]:
        """Encode a batch.

        Args:
            image: (B, 3, H, W), RGB in [0, 1].
            layers: Block indices from zero; those of the constructor when left out.

        Returns:
            Block index to feature map (B, channels, h, w), without class and register tokens.
        """
        wanted = sorted(set(self.layers if layers is None else layers))
        image = (image - self.mean) / self.std
        patch = self.patch_size
        size = [max(1, (side + patch // 2) // patch) * patch for side in image.shape[-2:]]
        # an exported graph holds all sizes, and resizing to the same size changes nothing
        if torch.compiler.is_exporting() or size != list(image.shape[-2:]):
            image = F.interpolate(image, size=size, mode='bilinear', align_corners=False)
        maps = self.model.forward_intermediates(image, indices=wanted, stop_early=True, intermediates_only=True)
        return dict(zip(wanted, maps))


def _build(name: str, weights: str, model_args: dict[str, Any]) -> Any:
    import timm  # here, because `import basicsr` must stay quick in programs that use no encoder

    if not timm.is_model(name):
        raise OptionsError('name', f"timm has no model '{name}'", nearest(name, timm.list_models('vit_*')))
    for key in model_args:
        if key in NOT_OURS:
            raise OptionsError(f'model_args.{key}', 'it says where weights come from, not what the model is',
                               'Leave it out; encoder.weights names the weights')
    arguments = {'num_classes': 0, 'dynamic_img_size': True, **model_args}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        try:
            model: Any = timm.create_model(name, pretrained=False, **arguments)
        except TypeError as error:
            raise OptionsError(
                'model_args', f"timm's '{name}' does not take these arguments ({error})", 'Use a plain ViT of timm'
            ) from error
    if not hasattr(model, 'blocks') or not hasattr(model, 'patch_embed'):
        raise OptionsError('name', f"'{name}' is not a plain vision transformer", 'Use one, such as a DINOv2 model')
    if weights == 'random':
        warnings.warn(
            f"The encoder '{name}' has random weights: good for trying things out, without meaning as guidance.",
            stacklevel=2,
        )
    else:
        load_weights(model, name, weights)
    if 'dinov2' in name:
        # an instance attribute shadows timm's method; partial keeps it picklable and deep copies of it consistent
        model._pos_embed = functools.partial(_dinov2_positions, model)
    return model.requires_grad_(False).eval()


def _dinov2_positions(model: Any, patches: Tensor) -> Tensor:
    """Add position embeddings and prefix tokens as Meta's DINOv2 does, in place of timm's ``_pos_embed``.

    Meta resizes the learned grid bicubically. Models without registers: no antialiasing, and by the scale factor
    (size + 0.1) / grid. Models with registers: antialiasing, and by the size. timm antialiases always and never
    adds the offset, which moves the features by 0.2 to 1.3 %.

    Args:
        model: timm's VisionTransformer.
        patches: (B, h, w, C).

    Returns:
        (B, prefix + h * w, C).
    """
    batch, height, width, channels = patches.shape
    registers = model.reg_token is not None
    prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    positions = model.pos_embed
    grid = positions[:, prefix:]
    side = math.isqrt(grid.shape[1])
    grid = grid.reshape(side, side, channels)
    if registers:
        rows, columns = (_antialiased(side, size, grid) for size in (height, width))
    else:
        rows, columns = _meta_bicubic(side, height, width, grid)
    grid = torch.einsum('hy,yxc,wx->hwc', rows, grid, columns)
    tokens = patches.reshape(batch, height * width, channels) + grid.reshape(1, height * width, channels)
    leading = model.cls_token + positions[:, :prefix] if prefix else model.cls_token
    parts = [leading.expand(batch, -1, -1), tokens]
    if registers:
        parts.insert(1, model.reg_token.expand(batch, -1, -1))
    return torch.cat(parts, dim=1)


def _meta_bicubic(side: int, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Bicubic resizing by the factors (size + 0.1) / side, as (height, side) and (width, side) matrices.

    Unit matrices where nothing is resized, for then Meta's code does not interpolate. Matrices, and no branch, because
    an exported graph has to hold all sizes.
    """
    sizes = [torch.arange(1, size + 1, dtype=like.dtype, device=like.device)[-1:] for size in (height, width)]
    offset = 0.1 * ((sizes[0] != side) | (sizes[1] != side)).to(like.dtype)
    steps = [side / (size + offset) for size in sizes]
    return _bicubic(side, height, steps[0], like), _bicubic(side, width, steps[1], like)


def _bicubic(side: int, size: int, step: Tensor, like: Tensor) -> Tensor:
    """``F.interpolate(..., mode='bicubic')`` of one axis by a matrix (size, side); ``step`` from place to place."""
    places = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * step - 0.5
    # two more on each side: what lies outside is what lies at the border
    taps = torch.arange(-2, side + 2, dtype=like.dtype, device=like.device)
    weights = _cubic(places[:, None] - taps, -0.75)
    first = weights[:, :3].sum(dim=1, keepdim=True)
    last = weights[:, -3:].sum(dim=1, keepdim=True)
    return torch.cat([first, weights[:, 3:-3], last], dim=1)


def _antialiased(side: int, size: int, like: Tensor) -> Tensor:
    """``F.interpolate(..., mode='bicubic', antialias=True)`` of one axis by a matrix (size, side)."""
    numbers = torch.arange(1, size + 1, dtype=like.dtype, device=like.device)
    step = side / numbers[-1:]
    taps = torch.arange(side, dtype=like.dtype, device=like.device) + 0.5
    weights = _cubic((taps - ((numbers - 0.5) * step)[:, None]) / step.clamp(min=1), -0.5)
    return weights / weights.sum(dim=1, keepdim=True)


def _cubic(x: Tensor, a: float) -> Tensor:
    """Keys' cubic convolution kernel."""
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
