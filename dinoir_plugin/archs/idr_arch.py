"""IDR (Zhang et al., Ingredient-oriented Multi-Degradation Learning, CVPR 2023), written from the paper.

Restormer with a block behind each of the first three encoder levels that finds out about the degradation and corrects
the feature by its physics. Parameter names are those of the authors' release, so their weights load with
``strict=True``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.archs.restormer_arch import Restormer
from dinoir_plugin.core.errors import OptionsError, nearest
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.inference.padding import pad_to_multiple
from dinoir_plugin.nn.idr_blocks import ROUTE_OF_TYPE, KeyBlock, resized
from dinoir_plugin.nn.precision import full
from dinoir_plugin.nn.unreached import joined

# in the order of the authors' numbers; a task belongs to the type that its name begins with
TYPES = ('denoise', 'derain', 'dehaze', 'deblur', 'lowlight')
SVD = ('svd_U', 'svd_S', 'svd_V')


class Mixer(nn.Module):
    """Mix the singular vectors of all types' keys to those of one set of keys."""

    def __init__(self, types: int, count: int) -> None:
        super().__init__()
        self.convU = nn.Conv2d(types * count, count, 1)
        self.convV = nn.Conv2d(types * count, count, 1)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Take the types' U (types, n, n) and V (types, d, n) to (n, n) and (n, d), a component a row."""
        mixed_left, mixed_right = (
            conv(vectors.mT.flatten(0, 1)[None, :, :, None])[0, ..., 0]
            for conv, vectors in ((self.convU, left), (self.convV, right))
        )
        return mixed_left, mixed_right


@ARCH_REGISTRY.register(suffix='basicsr')
class IDR(Restormer):
    """Restore with IDR, with the authors' constructor (theirs is ``IDR_restormer``) and parameter names.

    In its first stage of training each type of degradation has keys of its own, and each image takes those of its task
    and the route of its type (:data:`~dinoir_plugin.nn.idr_blocks.ROUTES`). In its second stage, and in evaluation, the
    network knows nothing of tasks: the types' keys, fixed from then on, are taken apart into singular vectors, mixed,
    and put together again with singular values that the image itself asks for.

    The signs of singular vectors are free, and the mixture depends on them. Here the largest entry of each right vector
    is positive, so that every machine and precision gives the same. What the authors trained depends on the signs that
    their routine chose: ``stored_svd`` takes U, S and V from the checkpoint.

    How likely each type is (``pred``) is a mean over the whole image, with local statistics too.

    Args:
        inp_channels: Channels of the input: 3.
        out_channels: Channels of the output: 3.
        dim: Width at full size; it doubles with each of the three halvings.
        num_blocks: Blocks of level 1, 2, 3 and of the latent level.
        num_refinement_blocks: Blocks after the decoder.
        heads: Attention heads of level 1, 2, 3 and of the latent level.
        ffn_expansion_factor: Hidden width of the feed-forward networks over the level's width.
        bias: Whether Restormer's convolutions have a bias.
        LayerNorm_type: ``WithBias`` or ``BiasFree``.
        num_degra_queries: Keys of each type.
        keep_degra: Nothing, as in the release.
        degra_type: Types: 5.
        sam: Whether there is a restored image on each level: True.
        ops_type: Types that are told apart: 5.
        pred: Whether the network tells types apart: True.
        stage: Of training, 1 or 2; evaluation is that of stage 2 always. ``train.phases`` can change it.
        types: Type of each task whose name does not begin with one (``denoise``, ``derain``, ``dehaze``, ``deblur``,
            ``lowlight``).
        antialias: Whether the image is smoothed as it is shrunk for the lower levels; the authors' torchvision did not.
        stored_svd: Whether U, S and V stand in the state dict, as ``svd_U``, ``svd_S`` and ``svd_V``, and are taken
            from there and not from ``degra_key``.

    Attributes:
        takes_items: Keys of an item of the training set that :meth:`forward` takes.
        stages: Of training.

    Raises:
        OptionsError: An argument that cannot be built.
    """

    takes_items: ClassVar[tuple[str, ...]] = ('task',)
    stages = 2

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = 'WithBias',
        num_degra_queries: int = 24,
        keep_degra: int = 48,
        degra_type: int = 5,
        sam: bool = True,
        ops_type: int = 5,
        pred: bool = True,
        stage: Literal[1, 2] = 2,
        types: Mapping[str, str] | None = None,
        antialias: bool = False,
        stored_svd: bool = False,
    ) -> None:
        _check(inp_channels, degra_type, sam, ops_type, pred, types or {})
        super().__init__(inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads,
                         ffn_expansion_factor, bias, LayerNorm_type)  # fmt: skip
        key_dim, count = dim * 8, num_degra_queries
        if not 1 <= count <= key_dim:
            raise OptionsError('num_degra_queries', f'expected a number from 1 to 8 * dim ({key_dim}), got {count}')
        self.degra_key = nn.Parameter(torch.randn(degra_type, count, key_dim))
        self.dmixer = Mixer(degra_type, count)
        shape = (ffn_expansion_factor, bias, LayerNorm_type, ops_type)
        self.kdp_level1 = KeyBlock(dim, key_dim, heads[0], *shape)
        self.kdp_level2 = KeyBlock(dim * 2, key_dim, heads[1], *shape)
        self.kdp_level3 = KeyBlock(dim * 4, key_dim, heads[2], *shape)
        self.stored_svd = stored_svd
        self.enter_stage(stage)
        self.type_of_task = dict(types or {})
        self.antialias = antialias
        for name, value in zip(SVD, self._decomposed()):
            self.register_buffer(name, value, persistent=stored_svd)
        self.register_load_state_dict_post_hook(_after_loading)

    def forward(self, inp_img: Tensor, task: Sequence[str] = ()) -> Any:
        """Restore.

        Args:
            inp_img: (B, 3, H, W), RGB in [0, 1]; any size.
            task: Of each image, which the first stage of training needs; otherwise not looked at.

        Returns:
            (B, 3, H, W), not clipped. In training also what the losses of
            :mod:`~dinoir_plugin.models.idr_loss` read: ``aux['restored']``, images of three levels (of the padded
            input's sides, halves and quarters), ``aux['likely']``, (B, 5) for each level, and in the first stage
            ``aux['types']``, (B,).

        Raises:
            ValueError: The first stage without tasks, or with one that belongs to no type.
        """
        height, width = inp_img.shape[-2:]
        image = pad_to_multiple(inp_img, self.size_multiple).contiguous(memory_format=torch.channels_last)
        types = self._types(task, len(inp_img)) if self.training and self.stage == 1 else None
        vectors = self._mixed() if types is None else None
        restored, likely = [], []

        def keyed(block: KeyBlock, feature: Tensor, factor: float) -> Tensor:
            likely.append(block.principle.types(feature))
            keys = self._keys(likely[-1], types, vectors)
            feature, seen = block(feature, likely[-1], keys, resized(image, factor, self.antialias), types)
            restored.append(seen)
            return feature

        level1 = keyed(self.kdp_level1, self.encoder_level1(self.patch_embed(image)), 1)
        level2 = keyed(self.kdp_level2, self.encoder_level2(self.down1_2(level1)), 0.5)
        level3 = keyed(self.kdp_level3, self.encoder_level3(self.down2_3(level2)), 0.25)
        x = self.latent(self.down3_4(level3))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), level3], dim=1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), level2], dim=1)))
        x = self.refinement(self.decoder_level1(torch.cat([self.up2_1(x), level1], dim=1)))
        out = (self.output(x) + image)[..., :height, :width]
        if not self.training:
            return out
        aux: dict[str, Any] = {'restored': tuple(restored), 'likely': tuple(likely)}
        if types is not None:
            aux['types'] = to_device(torch.tensor(types), out.device)
        return Outputs(out, aux=aux)

    def _types(self, tasks: Sequence[str], count: int) -> list[int]:
        if len(tasks) != count:
            raise ValueError(f'IDR: expected a task for each of {count} images, which its first stage needs, got '
                             f'{len(tasks)}. Train with MixedDegradationDataset, or with stage: 2')  # fmt: skip
        kinds = [self.type_of_task.get(task) or next(filter(task.startswith, TYPES), None) for task in tasks]
        unknown = [task for task, kind in zip(tasks, kinds) if kind is None]
        if unknown:
            raise ValueError(f"IDR: the task '{unknown[0]}' begins with none of {', '.join(TYPES)}. Say what type it "
                             f'is: network_g.types: {{{unknown[0]}: {TYPES[0]}}}')  # fmt: skip
        return [TYPES.index(str(kind)) for kind in kinds]

    def _keys(
        self, likely: Tensor, types: list[int] | None, vectors: tuple[Tensor, Tensor, Tensor] | None
    ) -> Tensor:
        """Give each image's keys, (B, n, 8 * dim): its type's, or a mixture."""
        if vectors is None:
            keys = self.degra_key[types]
            return joined(keys, [*self.dmixer.parameters(), likely])
        left, values, right = vectors
        keys = (left * (likely @ values)[:, None]) @ right
        return joined(keys, [self.degra_key]) if self.training else keys

    def _mixed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give mixed left vectors (n, n), the types' singular values (types, n), mixed right vectors (n, 8 * dim)."""
        fresh = self.training and not self.stored_svd
        left, values, right = self._decomposed() if fresh else (getattr(self, name) for name in SVD)
        mixed_left, mixed_right = self.dmixer(left, right)
        return mixed_left.mT, values, mixed_right

    @torch.no_grad()
    def _decomposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give U (types, n, n), S (types, n) and V (types, 8 * dim, n) of ``degra_key``, with fixed signs."""
        left, values, right = torch.linalg.svd(full(self.degra_key.detach()), full_matrices=False)
        largest = right.abs().argmax(dim=-1, keepdim=True)
        signs = torch.where(right.gather(-1, largest) < 0, -1.0, 1.0).to(right)
        parts = left * signs.mT, values, (right * signs).mT
        return tuple(part.to(self.degra_key.dtype) for part in parts)

    def train(self, mode: bool = True) -> IDR:
        """Turn training on or off; what evaluation takes of ``degra_key`` is brought up to date."""
        super().train(mode)
        if not mode:
            self.renew_svd()
        return self

    def enter_stage(self, stage: int) -> None:
        """Train in stage 1 or 2 from here on.

        Raises:
            OptionsError: Stage 1, which trains the keys, with U, S and V of given ones.
        """
        if self.stored_svd and stage == 1:
            raise OptionsError('stored_svd', 'expected false in stage 1, which trains the keys themselves, got true')
        self.stage = stage

    def renew_svd(self) -> None:
        """Take U, S and V, which evaluation uses, from ``degra_key``, unless they are stored."""
        if not self.stored_svd:
            for name, value in zip(SVD, self._decomposed()):
                getattr(self, name).copy_(value)


def _after_loading(net: IDR, incompatible: Any) -> None:
    net.renew_svd()


def _check(
    inp_channels: int, degra_type: int, sam: bool, ops_type: int, pred: bool, types: Mapping[str, str]
) -> None:
    if inp_channels != 3:
        raise OptionsError('inp_channels', f"expected 3, as for the levels' restored images, got {inp_channels}")
    for key, value in (('sam', sam), ('pred', pred)):
        if not value:
            raise OptionsError(key, 'expected true, as training and evaluation need it')
    for key, number in (('degra_type', degra_type), ('ops_type', ops_type)):
        if number != len(ROUTE_OF_TYPE):
            raise OptionsError(key, f'expected {len(ROUTE_OF_TYPE)} ({", ".join(TYPES)}), got {number}')
    for task, kind in types.items():
        if kind not in TYPES:
            raise OptionsError(f'types.{task}', f"there is no type '{kind}'", nearest(str(kind), TYPES))
