"""A network of timm as a feature encoder, true to the code that its weights were trained with."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.encoders.dinov2_positions import dinov2_positions
from dinoir_plugin.encoders.names import HUB, timm_name
from dinoir_plugin.encoders.weights import load_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RANDOM_WEIGHTS_SEED = 0
# arguments with which timm reads files or the network on its own
NOT_OURS = ('pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'checkpoint_path', 'cache_dir', 'features_only')


class Encoder(nn.Module):
    """Give features of chosen layers.

    Any network of timm by name that gives feature maps of images of any size:

    - vision transformers: DINOv2 with and without registers, DINOv3, CLIP's image towers. A layer is a block, its
      feature is taken before the final norm, without class and register tokens; all are of one width and one grid.
      For DINOv2 the position embeddings are resized as in Meta's code (see
      :func:`~dinoir_plugin.encoders.dinov2_positions.dinov2_positions`).
    - convolutional networks: EfficientNet, ConvNeXt, ResNet. A layer is a stage, with a width and a grid of its own.

    Inputs are normalised with the statistics that timm states for the model (ImageNet's for DINOv2). A side that the
    patch size, or the last stage's stride, does not divide is resized to the nearest multiple of it (bilinear), at
    least one: so the cells of every grid share out the whole image.

    Args:
        name: timm's name of the model, e.g. ``vit_base_patch14_dinov2``, or torch.hub's of DINOv2, ``dinov2_vitb14``.
        weights: ``auto`` (timm's download), ``installed`` (a Python package's; see
            :data:`~dinoir_plugin.encoders.weights.INSTALLED`), ``random`` (from a fixed seed, with a warning),
            or a path to Meta's ``.pth`` or timm's ``.pth`` or ``.safetensors``.
        layers: Indices of blocks or stages, from zero.
        model_args: Passed on to timm, e.g. ``{'depth': 4, 'embed_dim': 96}`` for tiny models in tests.

    Attributes:
        widths: Width of each layer that there is.
        depth: Number of layers.
        unit: What sides are rounded to multiples of, in pixels.

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
        self.name = name = timm_name(name)
        self.model: Any = _build(name, weights, dict(model_args or {}))
        self.widths: tuple[int, ...] = tuple(level['num_chs'] for level in self.model.feature_info)
        self.depth = len(self.widths)
        self.unit = _unit(self.model)
        self.layers = self.check_layers(layers)
        config = self.model.pretrained_cfg
        for key, default in (('mean', IMAGENET_MEAN), ('std', IMAGENET_STD)):
            statistic = torch.tensor(config.get(key) or default).view(1, 3, 1, 1)
            self.register_buffer(key, statistic, persistent=False)
        self.eval()

    def check_layers(self, layers: Sequence[int], path: str = 'layers') -> tuple[int, ...]:
        """Give ``layers`` as a tuple, or an OptionsError that says the valid range."""
        wrong = [i for i in layers if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < self.depth]
        if wrong or not layers:
            raise OptionsError(
                path,
                f'expected indices from 0 to {self.depth - 1} ({self.name} has {self.depth} layers), '
                f'got {wrong[0] if wrong else "none"}',
                'Choose layers that exist',
            )
        return tuple(layers)

    def taken_side(self, side: int) -> int:
        """Tell what an image's side is resized to, in pixels."""
        return max(1, (side + self.unit // 2) // self.unit) * self.unit

    def forward(self, image: Tensor, layers: Sequence[int] | None = None) -> dict[int, Tensor]:
        """Encode a batch.

        Args:
            image: (B, 3, H, W), RGB in [0, 1].
            layers: Indices from zero; those of the constructor when left out.

        Returns:
            Index to feature map (B, its width, its rows, its columns).
        """
        wanted = sorted(set(self.layers if layers is None else layers))
        maps = self.model.forward_intermediates(
            self._taken(image), indices=wanted, stop_early=True, intermediates_only=True
        )
        return dict(zip(wanted, maps))

    @property
    def has_class_token(self) -> bool:
        """Tell whether there is a token of the whole image, as :meth:`class_tokens` gives it."""
        return getattr(self.model, 'cls_token', None) is not None

    def class_tokens(self, image: Tensor, layers: Sequence[int], offset: bool = True) -> dict[int, Tensor]:
        """Encode a batch as one vector for each image and layer: the class token, before the final norm.

        Args:
            image: (B, 3, H, W), RGB in [0, 1].
            layers: Indices of blocks from zero.
            offset: Whether position embeddings of DINOv2 without registers are resized as in Meta's code; otherwise as
                in Hugging Face's, which differs by the offset alone.

        Returns:
            Index to (B, its width).
        """
        wanted = sorted(set(layers))
        pairs = self._with_offset(offset).forward_intermediates(
            self._taken(image), indices=wanted, return_prefix_tokens=True, output_fmt='NLC', stop_early=True,
            intermediates_only=True,
        )  # fmt: skip
        return {layer: prefix[:, 0] for layer, (_, prefix) in zip(wanted, pairs)}

    def _taken(self, image: Tensor) -> Tensor:
        """Normalise an image and resize it to sides that the network takes."""
        image = (image - self.mean) / self.std
        size = [self.taken_side(side) for side in image.shape[-2:]]
        # an exported graph holds all sizes, and resizing to the same size changes nothing
        if torch.compiler.is_exporting() or size != list(image.shape[-2:]):
            image = F.interpolate(image, size=size, mode='bilinear', align_corners=False)
        return image

    def _with_offset(self, offset: bool) -> Any:
        """Give the network, or a shallow copy of it, of the same weights, whose positions are resized by the size."""
        if offset or 'dinov2' not in self.name:
            return self.model
        model = copy.copy(self.model)
        model._pos_embed = functools.partial(dinov2_positions, self.model, offset=0.0)
        return model

    def normalised(self, feature: Tensor) -> Tensor:
        """Apply the network's own final norm to each token of a feature, as its authors do with any block's.

        Args:
            feature: (B, C, h, w), of any layer.

        Returns:
            The same shape; the feature itself where the network has no final norm of that width (stages of
            convolutional networks).
        """
        norm = getattr(self.model, 'norm', None)
        if not isinstance(norm, nn.LayerNorm) or norm.normalized_shape != (feature.shape[1],):
            return feature
        normed: Tensor = norm(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


def _unit(model: Any) -> int:
    """Give the patch size, or the largest stride."""
    return max(level['reduction'] for level in model.feature_info)


def _build(name: str, weights: str, model_args: dict[str, Any]) -> Any:
    import timm  # here, because `import basicsr` must stay quick in programs that use no encoder
    from timm.layers import Conv2dSame

    if not timm.is_model(name):
        raise OptionsError('name', f"timm has no model '{name}'", nearest(name, [*timm.list_models(), *HUB]))
    for key in model_args:
        if key in NOT_OURS:
            raise OptionsError(f'model_args.{key}', 'it says where weights come from, not what the model is',
                               'Leave it out; encoder.weights names the weights')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_WEIGHTS_SEED)
        model = _create(name, model_args)
    notes = ' '.join(model.pretrained_cfg.get('notes') or ())
    if 'quickgelu' in notes and 'quickgelu' not in name and weights != 'random':
        problem = f"the weights of '{name}' were trained with QuickGELU, which timm's model of this name has not"
        raise OptionsError('name', problem, f"Use '{name.replace('_clip_', '_clip_quickgelu_')}'")
    if weights == 'random':
        warnings.warn(
            f"The encoder '{name}' has random weights: good for trying things out, without meaning as guidance.",
            stacklevel=2,
        )
    else:
        load_weights(model, name, weights)
    same: list[Any] = [module for module in model.modules() if isinstance(module, Conv2dSame)]
    for module in same:
        module.forward = functools.partial(_convolved, module)
    return model.requires_grad_(False).eval()


def _create(name: str, model_args: dict[str, Any]) -> Any:
    """Build without weights: a transformer that takes images of any size, or a convolutional network."""
    try:
        return _of_use(_created(name, model_args), name)
    # what a foreign network raises may be anything
    except Exception as error:
        reason = _why_of_no_use(name) if model_args else str(error)
        if not reason:
            problem = f"timm's '{name}' does not take these arguments ({error})"
            raise OptionsError('model_args', problem, 'Leave out those that it does not know') from error
        problem = f"'{name}' does not give feature maps of images of any size ({reason})"
        raise OptionsError('name', problem, 'Use another, such as a DINOv2 model') from error


def _created(name: str, model_args: dict[str, Any]) -> Any:
    import timm

    arguments = {'num_classes': 0, **model_args}
    try:
        return timm.create_model(name, pretrained=False, dynamic_img_size=True, **arguments)
    except TypeError:  # not a transformer that resizes its positions
        return timm.create_model(name, pretrained=False, **arguments)


def _why_of_no_use(name: str) -> str:
    """Say why a model is of no use with timm's own arguments; empty where it is."""
    try:
        _of_use(_created(name, {}), name)
    # what a foreign network raises may be anything
    except Exception as error:  # noqa: BLE001 - whatever it is, the model is of no use
        return str(error) or type(error).__name__
    return ''


def _of_use(model: Any, name: str) -> Any:
    """Give the model, DINOv2 with Meta's positions, once it gave feature maps of a small image that is no square."""
    # instance attributes shadow timm's methods; partial keeps them picklable and deep copies of them consistent
    if 'dinov2' in name:
        model._pos_embed = functools.partial(dinov2_positions, model)
    side = _unit(model)
    with torch.no_grad():
        model.eval().forward_intermediates(torch.zeros(1, 3, side, 2 * side), intermediates_only=True)
    return model


def _convolved(module: Any, x: Tensor) -> Tensor:
    """Convolve with TensorFlow's "same" padding, whose width timm computes from the size of each feature.

    Where the stride divides the size, as it does here everywhere, it is always the same. The exporters take minutes
    over the formula for all sizes.
    """
    widths = []
    for size, stride, dilation in zip(module.kernel_size[::-1], module.stride[::-1], module.dilation[::-1]):
        missing = max((size - 1) * dilation + 1 - stride, 0)
        widths += [missing // 2, missing - missing // 2]
    x = F.pad(x, widths)
    return F.conv2d(x, module.weight, module.bias, module.stride, 0, module.dilation, module.groups)
