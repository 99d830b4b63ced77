"""The losses of Perceive-IR's second stage (arXiv 2408.15994), beside that of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core.constraints import Filled, Holds
from dinoir_plugin.core.construct import construct
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import read
from dinoir_plugin.core.outputs import Outputs
from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.losses.vgg_features import VGGFeatures
from dinoir_plugin.methods.perceive_ir.clip_aware import clip_aware_loss
from dinoir_plugin.methods.perceive_ir.code_contrast import TAU, by_severity, code_contrast_loss
from dinoir_plugin.methods.perceive_ir.difficulty import (
    LAYERS,
    difficulty,
    difficulty_adaptive_loss,
    psnr,
    seen_by_vgg,
)
from dinoir_plugin.methods.perceive_ir.frozen_clip import FrozenCLIP, frozen_clip
from dinoir_plugin.methods.perceive_ir.perceive_ir_arch import CODE, CODE_POSITIVE, KEY
from dinoir_plugin.methods.perceive_ir.prompt_report import check_accepted
from dinoir_plugin.methods.perceive_ir.prompts import read_prompts
from dinoir_plugin.methods.perceive_ir.proxies import Proxy, ProxyOptions
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss

PROBES = 'PerceiveIRModel'  # the model that measures how good the network is


@LOSS_REGISTRY.register()
class CodeContrastLoss(StepLoss):
    """Tell degradations apart by their codes; see :func:`code_contrast_loss`.

    Codes of different tasks are driven apart, and with ``severities`` those of mild and severe samples of a task, too.

    For PerceiveIRArch, and for a training set with a second patch of each image
    (``datasets.train.second_patch: true``).

    Args:
        loss_weight: Factor of the loss.
        tau: Temperature: what cosines are divided by.
        severities: PSNR of the degraded patch, in dB, at which the samples of a task are parted, ascending: [17, 22]
            parts noise of sigma 50, 25 and 15. Left out: they are not, as in the release.

    Raises:
        OptionsError: A temperature that is not above 0, or severities that do not ascend.
    """

    needs = frozenset({KEY, 'task'})
    capturable = True

    def __init__(
        self,
        loss_weight: float = 0.1,
        tau: float = TAU,
        severities: Annotated[Sequence[float], Filled()] | None = None,
    ) -> None:
        super().__init__()
        if tau <= 0:
            raise OptionsError('tau', f'expected a number above 0, got {tau}')
        if any(low >= high for low, high in pairwise(severities or ())):
            raise OptionsError('severities', f'expected ascending numbers, got {list(severities or ())}')
        self.loss_weight = loss_weight
        self.tau = tau
        self.severities = severities

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar.

        Raises:
            ValueError: The network gave no codes, or the samples have no tasks.
        """
        if CODE_POSITIVE not in outputs.aux:
            raise ValueError('expected the codes of two patches from the network, got none: CodeContrastLoss is for '
                             'PerceiveIRArch, and for items with a key')  # fmt: skip
        if batch.task_numbers is None:
            raise ValueError('expected samples of known tasks, got some without: CodeContrastLoss compares tasks')
        labels = batch.task_numbers
        if self.severities is not None:
            labels = by_severity(labels, psnr(batch.lq, batch.target), self.severities)
        return self.loss_weight * code_contrast_loss(outputs.aux[CODE], outputs.aux[CODE_POSITIVE], labels, self.tau)


@LOSS_REGISTRY.register()
class CLIPAwareLoss(StepLoss):
    """Have restored images look excellent to the quality prompts of stage 1; see :func:`clip_aware_loss`.

    Args:
        prompts: File of the prompts.
        clip: Arguments of :func:`~dinoir_plugin.methods.perceive_ir.frozen_clip.frozen_clip`, the CLIP of their
            training.
        loss_weight: Factor of the loss.
        logit_scale: Factor of the cosines: 1 as in the release, by which the loss is nearly constant, or 100 as CLIP's
            own.
        gate: ``enforce``: prompts have to be accepted (their file says it, or they were trained as the authors' are);
            ``ignore``: any are taken.

    Raises:
        OptionsError: A CLIP or prompts that cannot be had, prompts of another CLIP, or prompts that are not accepted.
    """

    capturable = True
    quality: Tensor

    def __init__(
        self,
        prompts: str,
        clip: Annotated[Mapping[str, Any], Holds(frozen_clip)],
        loss_weight: float = 0.05,
        logit_scale: float = 1.0,
        gate: Literal['enforce', 'ignore'] = 'enforce',
    ) -> None:
        super().__init__()
        self.clip: FrozenCLIP = construct(frozen_clip, 'clip', clip)
        self.loss_weight = loss_weight
        self.logit_scale = logit_scale
        file = read_prompts(prompts, self.clip.network)
        if gate == 'enforce':
            check_accepted(file, prompts)
        with torch.no_grad():
            quality = file.prompts.features(self.clip.network)
        self.register_buffer('quality', quality, persistent=False)

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar."""
        return self.loss_weight * clip_aware_loss(self.clip(outputs.image), self.quality, self.logit_scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CLIPAwareLoss:
        """Take CLIP along where ``.to()`` and the like go, though it is no submodule."""
        super()._apply(fn, recurse)
        self.clip.follow(fn)
        return self


@LOSS_REGISTRY.register()
class DifficultyAdaptiveLoss(StepLoss):
    """Draw restored images to the target, and away from the degraded image and what other networks make of it.

    See :func:`difficulty_adaptive_loss`. What another network, a proxy, restored has the weight 1.25 (hard) where it is
    no better than the network in training, and 0.75 (very hard) where it is.

    Args:
        loss_weight: Factor of the loss.
        proxies: Networks that do not learn, a block each: ``file``, a checkpoint or what authors release; ``tasks``,
            those that it serves (left out: all); ``images``, a folder with lists of those that it serves, which it was
            not trained on (left out: all).
        weights: VGG16's: ``auto`` (torchvision's, downloaded), ``random``, or a file's path, as for
            :class:`~dinoir_plugin.losses.vgg_features.VGGFeatures`.
        floor: What holds the loss where the output still equals the input: the least denominator, as a share of the
            distance of the target from the input. 0: nothing, as in the release.
        reference: By what the network in training is known: ``patch`` (the PSNR of the image that it restores now),
            ``probe`` (one for all images, measured now and then, as in the release) or ``task_probe`` (one for each
            task). The probes need PerceiveIRModel.

    Attributes:
        standing: By task the PSNR that a probe measured last, in dB.

    Raises:
        OptionsError: A proxy that cannot be had, or neither a proxy nor a floor.
    """

    needs = frozenset({'task'})

    def __init__(
        self,
        loss_weight: float = 0.1,
        proxies: Sequence[Mapping[str, Any]] = (),
        weights: str = 'auto',
        floor: float = 0.1,
        reference: Literal['patch', 'probe', 'task_probe'] = 'patch',
    ) -> None:
        super().__init__()
        if not 0 <= floor <= 1:
            raise OptionsError('floor', f'expected a number from 0 to 1, got {floor}')
        if not proxies and not floor:
            problem = 'expected a number above 0 without proxies, since nothing else holds the loss, got 0'
            raise OptionsError('floor', problem, 'Write e.g. floor: 0.1')
        self.loss_weight = loss_weight
        self.floor = floor
        self.reference = reference
        self.standing: Mapping[str, float] = {}
        self.features = VGGFeatures('vgg16', LAYERS, weights)
        options: Sequence[ProxyOptions] = read(Sequence[ProxyOptions], list(proxies), 'proxies')
        # which samples a proxy serves is known to the host alone
        self.capturable = not proxies
        self.proxies = nn.ModuleList(Proxy(entry, f'proxies[{place}]') for place, entry in enumerate(options)).eval()

    def check_model(self, model: type) -> None:
        """Ask for the model that probes, where the reference is a probe."""
        if self.reference != 'patch' and PROBES not in [kind.__name__ for kind in model.__mro__]:
            problem = f'{self.reference} is what {PROBES} measures, and the model is {model.__name__}'
            raise OptionsError('reference', problem, f'Write model_type: {PROBES}, or reference: patch')

    def train(self, mode: bool = True) -> DifficultyAdaptiveLoss:
        """Leave the proxies in evaluation whatever is asked."""
        super().train(mode)
        self.proxies.eval()
        return self

    def of_step(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Compute the loss of a training step, a scalar."""
        with torch.no_grad():
            own = self._own(outputs.image, batch)
            images, weights, masks = [], [], []
            for proxy in self.proxies:
                image, mask = proxy(batch)
                images.append(image)
                masks.append(mask)
                weights.append(difficulty(image, batch.target, own))
            known = [self._seen(image) for image in (batch.target, batch.lq, *images)]
        gt, lq, *others = known
        loss = difficulty_adaptive_loss(
            self._seen(outputs.image), gt, lq, others, weights, masks, floor=self.floor
        )
        return self.loss_weight * loss

    def _own(self, image: Tensor, batch: Batch) -> Tensor:
        """Give the PSNR that a proxy is held against, (B,), in dB."""
        if self.reference == 'patch':
            return psnr(image, batch.target)
        mean = sum(self.standing.values()) / len(self.standing)
        tasks = batch.tasks if self.reference == 'task_probe' else ()
        known = [self.standing.get(task, mean) for task in tasks or [''] * len(image)]
        return to_device(torch.tensor(known, dtype=image.dtype), image.device)

    def _seen(self, image: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(image.device.type, enabled=False):
            found: tuple[Tensor, ...] = self.features(seen_by_vgg(image))
        return found
