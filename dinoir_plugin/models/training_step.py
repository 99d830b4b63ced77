"""One step of training: forward pass, losses, backward pass, optimizer, averages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from dinoir_plugin.core import ranks
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.models.acceleration import Precision
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.half_weights import HalfWeights
from dinoir_plugin.models.optimizer import decides_on_device
from dinoir_plugin.models.step_checks import Finite, StepReport, numbers_of
from dinoir_plugin.models.step_graph import StepGraph

if TYPE_CHECKING:
    from dinoir_plugin.models.restoration_model import RestorationModel

GRADIENT_NORM = 'the norm of the gradients'


class Part(NamedTuple):
    """Say what a step is of its iteration; see :meth:`TrainingStep.make`."""

    share: float
    averages: bool


WHOLE = Part(1.0, True)


@dataclass
class Made:
    """Hold what a step computed.

    Attributes:
        image: Restored, (B, 3, H, W), RGB.
        log: Name to scalar.
        watched: Name to scalar, of the numbers that have to be finite.
        numbers: These, as :func:`~dinoir_plugin.models.step_checks.numbers_of` gives them.
    """

    image: Tensor
    log: dict[str, Tensor]
    watched: dict[str, Tensor]
    numbers: Tensor


class TrainingStep:
    """Make the steps of a model.

    With an optimizer that can leave a step out by itself (a fused one, the default on a GPU) nothing in a step waits
    for the device: numbers that are not finite are found there, the weights stay as they are, and the host learns of it
    at the beginning of the next step. Otherwise the host decides in the step.

    Args:
        model: Its network, losses, optimizer and averages are used.
        train: The block ``train`` of its options.
    """

    def __init__(self, model: RestorationModel, train: Mapping[str, Any]) -> None:
        self.model = model
        self.precision = Precision(train.get('amp'), model.device)
        self.precision.remember_in(model.optimizer_g)
        self.finite = Finite(train.get('on_nonfinite', 'stop'))
        self.on_device = decides_on_device(model.optimizer_g)
        self._max_norm = train.get('grad_clip_norm') or 0
        self._report: StepReport | None = None
        self._graph = StepGraph(model, train, self._computed) if self.on_device else None
        self.prepare()

    def prepare(self) -> None:
        """Begin anew with the network's weights and form, which a phase may have changed."""
        net = self.model.get_bare_model(self.model.net_g)
        dtype = self.precision.dtype
        self._half = HalfWeights(net, dtype, in_parts=ranks.world_size() > 1) if dtype else None
        if self._graph is not None:
            self._graph.forget()

    def make(
        self, batch: Batch, iteration: int, told_to_stop: bool, share: float = 1.0, averages: bool = True
    ) -> bool:
        """Make the step of a batch; all ranks call this together.

        Args:
            batch: What is learned from.
            iteration: The step's.
            told_to_stop: Whether this rank has been.
            share: Factor of the losses; 0 where this rank only goes along.
            averages: Whether weights are averaged afterwards.

        Returns:
            Whether a rank was told to stop, as far as it is known: of an optimizer that decides on the device, after
            the step before.

        Raises:
            TrainingError: A number is not finite; the weights were not touched.
        """
        stops = self.settle()
        part = Part(share, averages)
        if self._graph is not None and part == WHOLE:
            made = self._graph.step(batch, told_to_stop)
        else:
            made = self._computed(batch, told_to_stop, part)
        report = StepReport(made.numbers, made.watched, batch.tasks, batch.files, iteration)
        if self.on_device:
            self._report = report
        else:
            stops = self._decide(report, made, batch, part)
        self.model.output = made.image
        self.model.log_step(made.log)
        # ranks have to agree; one alone knows without asking
        return told_to_stop if ranks.world_size() == 1 else stops

    def settle(self) -> bool:
        """Read what the last step came to, where that was not done yet.

        Returns:
            Whether a rank was told to stop.

        Raises:
            TrainingError: A number was not finite; the weights were not touched.
        """
        report, self._report = self._report, None
        if report is None:
            return False
        bad, stops, what = report.read()
        self.finite.allows(bad, report.iteration, what)
        return stops

    def _decide(self, report: StepReport, made: Made, batch: Batch, part: Part) -> bool:
        bad, stops, what = report.read()
        if self.finite.allows(bad, report.iteration, what):
            self.precision.step(self.model.optimizer_g)
            self._note(batch, made.image, None, part)
        else:
            self.precision.leave_out()
        return stops

    def _note(self, batch: Batch, image: Tensor, made: Tensor | None, part: Part) -> None:
        if part.averages and self.model.ema_decay > 0:
            self.model.average(self.model.ema_decay, made)
        if part.share:
            self.model.per_task.add(batch, image, made)

    def _computed(self, batch: Batch, told_to_stop: bool, part: Part = WHOLE) -> Made:
        """Compute all that needs no decision of the host."""
        model, precision = self.model, self.precision
        batch = model.prepared(batch)
        model.optimizer_g.zero_grad()
        with self._half.lent() if self._half else nullcontext():
            with precision.autocast():
                outputs = model.predict(batch)
                losses = model.losses(outputs, batch)
            total = torch.stack(list(losses.values())).sum()
            precision.backward(total if part.share == 1 else total * part.share)
        norm = precision.clip(model.optimizer_g, model.net_g.parameters(), self._max_norm)
        # in fp16 gradients overflow as a matter of course, and the scale takes care of them
        watched = {**losses} if precision.scaler.is_enabled() else {**losses, GRADIENT_NORM: norm}
        numbers = numbers_of(watched, told_to_stop)
        if self.on_device:
            bad = numbers[0]
            precision.step(model.optimizer_g, bad)
            self._note(batch, outputs.image, 1 - bad, part)
        log = {name: loss.detach() for name, loss in losses.items()}
        if part.share != 1:
            log = {name: loss * part.share for name, loss in log.items()}
        net: nn.Module = model.get_bare_model(model.net_g)
        if isinstance(net, GuidedArch):
            log.update(net.scalars())
        return Made(outputs.image.detach(), log, watched, numbers)
