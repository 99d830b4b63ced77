"""A training step as a CUDA graph: its kernels are recorded once and launched together from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from dinoir_plugin.guidance.guided_arch import is_capturable
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.losses import StepLoss
from dinoir_plugin.nn.cuda_graph import Recording, recording_stream

if TYPE_CHECKING:
    from dinoir_plugin.models.restoration_model import RestorationModel
    from dinoir_plugin.models.training_step import Made

# steps of a size that are made as usual first: they tune, allocate and fill what is kept between steps
WARM_UP = 3


class StepGraph:
    """Make steps, as a graph where the options ask for one and the model allows it.

    The kernels of a step take a third of the time that launching them one by one takes. A graph repeats the very same
    kernels on the same memory, so nothing in a step may depend on values that the host knows: the learning rate is a
    tensor, a step that is left out is left out on the device. A new size of the batch, and a phase, record anew.

    Args:
        model: Whose steps are made; not recorded: several GPUs, a model with steps of its own, losses and networks
            with items of their own that do not say that they look at tensors alone.
        train: The block ``train``; ``cuda_graph`` is read.
        compute: Makes a step as usual, from a batch and whether this rank was told to stop.
    """

    def __init__(
        self, model: RestorationModel, train: Mapping[str, Any], compute: Callable[[Batch, bool], Made]
    ) -> None:
        self._model = model
        self._compute = compute
        # YAML reads a bare `off` as false
        wanted = train.get('cuda_graph', 'auto') not in ('off', False)
        why_not = reason_against(model) if wanted and model.device.type == 'cuda' else ''
        self._records = wanted and model.device.type == 'cuda' and not why_not
        if why_not:
            get_root_logger().info(f'train.cuda_graph: the training step is made as usual: {why_not}.')
        self._rates = [torch.zeros((), device=model.device) for _ in model.optimizer_g.param_groups]
        self.forget()

    def forget(self) -> None:
        """Drop the recorded step."""
        self._recording: Recording[Made] | None = None
        self._sizes: object = None
        self._seen = 0

    def step(self, batch: Batch, told_to_stop: bool) -> Made:
        """Make the step of a batch."""
        if not self._records:
            return self._compute(batch, told_to_stop)
        sizes = {name: value.shape for name, value in batch.tensors().items()}
        if sizes != self._sizes:
            self.forget()
            self._sizes = sizes
        self._seen += 1
        if self._seen <= WARM_UP:
            return self._beside(batch)
        try:
            if self._recording is None:
                self._record(batch)
        # whatever cannot be recorded raises this
        except RuntimeError as error:
            self.forget()
            self._records = False
            get_root_logger().warning(f'The training step cannot be a CUDA graph and is made as usual: {error}')
            return self._compute(batch, told_to_stop)
        return self._repeated(batch)

    def _beside(self, batch: Batch) -> Made:
        """Make a step as usual on a stream of its own, as a recorded one will be."""
        stream = recording_stream(batch.lq.device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), self._rates_on_device():
            made = self._compute(batch, False)
        torch.cuda.current_stream().wait_stream(stream)
        return made

    def _record(self, batch: Batch) -> None:
        tensors = batch.tensors()
        self._model.optimizer_g.zero_grad(set_to_none=True)

        def compute(kept: list[Tensor]) -> Made:
            return self._compute(batch.with_tensors(dict(zip(tensors, kept))), False)

        with self._rates_on_device():
            self._recording = Recording(compute, list(tensors.values()))
        sizes = 'x'.join(str(side) for side in batch.lq.shape)
        get_root_logger().info(f'The training step of batches of {sizes} is a CUDA graph from here on.')

    def _repeated(self, batch: Batch) -> Made:
        assert self._recording is not None
        with self._rates_on_device():
            return self._recording.repeat(list(batch.tensors().values()))

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Let the optimizer read its learning rates from tensors, which a graph may; each step rounds them alike."""
        groups = self._model.optimizer_g.param_groups
        rates = [group['lr'] for group in groups]
        for group, rate, value in zip(groups, self._rates, rates):
            group['lr'], group['capturable'] = rate.fill_(value), True
        try:
            yield
        finally:
            for group, value in zip(groups, rates):
                group['lr'], group['capturable'] = value, False


def reason_against(model: RestorationModel) -> str:
    """Say why a model's steps on a GPU cannot be recorded; empty where they can."""
    from dinoir_plugin.models.restoration_model import RestorationModel

    if model.opt['dist']:
        return 'ranks exchange gradients in it'
    if model.opt['num_gpu'] > 1:
        return 'several GPUs share it'
    kind = type(model)
    own = kind.predict is not RestorationModel.predict or kind.losses is not RestorationModel.losses
    if own and not kind.capturable:
        return f'{kind.__name__} computes it in its own way'
    if not is_capturable(model.get_bare_model(model.net_g)):
        return 'the network may look at more than tensors'
    for name, loss in model.criteria.items():
        if isinstance(loss, StepLoss) and not loss.capturable:
            return f"the loss '{name}' may look at more than tensors"
    return ''
