"""AirNet (Li et al., All-In-One Image Restoration for Unknown Corruption, CVPR 2022), written from the paper.

An encoder that learns by contrast which degradation an image has, and a network that restores by its map. Parameter
names are those of the authors' release, so their weights load with ``strict=True``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core import ranks
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.nn.airnet_blocks import DGRN, ResEncoder
from dinoir_plugin.nn.precision import full, no_autocast

MOMENTUM = 0.999
TEMPERATURE = 0.07


class MoCo(nn.Module):
    """Learn a degradation's vector by contrast with a queue of earlier ones (He et al., CVPR 2020, arXiv 1911.05722).

    Under several processes all ranks' keys enter the queue, so that every rank has the same one.

    Args:
        encoder: Of queries; that of keys starts as its copy and follows it.
        dim: Of the vectors.
        length: Of the queue, in vectors.
    """

    queue: Tensor
    queue_ptr: Tensor

    def __init__(self, encoder: ResEncoder, dim: int, length: int) -> None:
        super().__init__()
        self.encoder_q = encoder
        self.encoder_k = copy.deepcopy(encoder).requires_grad_(False)
        parts: Iterable[Any] = encoder.modules()
        for part in parts:
            part.half_weights = False  # those of encoder_k are their average, which half precision would round
        self.register_buffer('queue', F.normalize(torch.randn(dim, length), dim=0))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compare images with the keys of the same degradations and with the queue, then put the keys into it.

        Args:
            query: (B, 3, H, W), RGB in [0, 1].
            key: Other patches of the same degraded images, the same shape.

        Returns:
            The degradation map of the queries, (B, C, H, W); logits (B, 1 + length), first that of the key; and the
            labels of the cross-entropy, (B,), all 0.
        """
        degradation, vector = self.encoder_q(query)
        keys = self._keys(key)
        # before the keys enter it; a copy, since the backward pass needs it as it is
        others = self.queue.clone()
        with no_autocast(query):
            queries = F.normalize(full(vector), dim=1)
            logits = torch.cat([(queries * keys).sum(dim=1, keepdim=True), queries @ others], dim=1) / TEMPERATURE
        self._enqueue(keys)
        return degradation, logits, torch.zeros(len(query), dtype=torch.long, device=query.device)

    @torch.no_grad()
    def _keys(self, key: Tensor) -> Tensor:
        if getattr(self, '_is_replica', False):
            raise RuntimeError('AirNet keeps a queue, which DataParallel would lose: start one process a GPU, with '
                               'torchrun and --launcher pytorch, or set num_gpu: 1')
        of_keys: list[Tensor] = list(self.encoder_k.parameters())
        of_queries: list[Tensor] = list(self.encoder_q.parameters())
        torch._foreach_lerp_(of_keys, of_queries, 1 - MOMENTUM)
        return F.normalize(full(self.encoder_k(key)[1]), dim=1)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        keys = ranks.gather_tensor(keys)
        length = self.queue.shape[1]
        if len(keys) > length:
            raise ValueError(f'expected at most {length} samples in a step, as many as the queue holds, got {len(keys)}'
                             ': raise batch_size of AirNet')
        places = (self.queue_ptr + torch.arange(len(keys), device=keys.device)) % length
        self.queue[:, places] = keys.T.to(self.queue.dtype)
        self.queue_ptr.copy_((self.queue_ptr + len(keys)) % length)


class CBDE(nn.Module):
    """Hold the encoder under the name that it has in the release (contrastive-based degradation encoder)."""

    def __init__(self, widths: tuple[int, int, int], dim: int, length: int) -> None:
        super().__init__()
        self.E = MoCo(ResEncoder(widths, dim), dim, length)


@ARCH_REGISTRY.register(suffix='basicsr')
class AirNet(nn.Module):
    """Restore by a map of the degradation, with the authors' parameter names.

    The release is trained in two phases (``train.phases``), the encoder alone (``train_only: [E]``) and then all of
    it; ``ContrastiveQueueLoss`` is the loss of the logits. Modules to guide: ``R.body.*``.

    Args:
        n_feats: Channels of the restorer.
        n_groups: Groups of blocks.
        n_blocks: Blocks in a group.
        encoder_widths: Channels of the encoder at full, half and quarter size; the first as many as ``n_feats``.
        dim: Width of the vectors that are compared.
        batch_size: The queue holds ``dim`` vectors for each sample of a training step; released weights have 5 (noise,
            rain and haze together), 3 (noise) or 1.

    Attributes:
        takes_items: Keys of an item of the training set that :meth:`forward` takes.
        capturable: A CUDA graph may repeat a training step, whose queue stays on the device.

    Raises:
        OptionsError: An argument that cannot be built.
    """

    size_multiple = 1
    takes_items: ClassVar[tuple[str, ...]] = ('key',)
    capturable = True

    def __init__(
        self,
        n_feats: int = 64,
        n_groups: int = 5,
        n_blocks: int = 5,
        encoder_widths: Sequence[int] = (64, 128, 256),
        dim: int = 256,
        batch_size: int = 5,
    ) -> None:
        super().__init__()
        if len(encoder_widths) != 3:
            raise OptionsError('encoder_widths', f'expected 3 numbers, got {len(encoder_widths)}')
        first, second, third = encoder_widths
        if first != n_feats:
            problem = f'expected {n_feats} like n_feats first, as the map goes along with the features, got {first}'
            raise OptionsError('encoder_widths', problem)
        if batch_size < 1:
            raise OptionsError('batch_size', f'expected a number from 1, got {batch_size}')
        self.R = DGRN(n_feats, n_groups, n_blocks)
        self.E = CBDE((first, second, third), dim, dim * batch_size)

    def forward(self, x: Tensor, key: Tensor | None = None) -> Tensor | Outputs:
        """Restore.

        Args:
            x: (B, 3, H, W), RGB in [0, 1]; any size.
            key: In training, other patches of the same degraded images, the same shape. Without them nothing is
                compared, and neither the key encoder nor the queue changes. Not looked at in evaluation.

        Returns:
            (B, 3, H, W), not clipped. With keys, in training: also ``aux['logits']`` (B, 1 + dim * batch_size)
            and ``aux['labels']`` (B,). While the encoder learns alone the restorer is not run, and the image is ``x``.
        """
        moco = self.E.E
        if not self.training or key is None:
            out: Tensor = self.R(x, moco.encoder_q.E_pre(x))
            return out
        degradation, logits, labels = moco(x, key)
        image = x if self._encoder_alone() else self.R(x, degradation)
        return Outputs(image, aux={'logits': logits, 'labels': labels})

    def _encoder_alone(self) -> bool:
        restores, encodes = (any(p.requires_grad for p in part.parameters()) for part in (self.R, self.E))
        return encodes and not restores
