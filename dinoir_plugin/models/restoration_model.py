"""What BasicSR's trainer drives: any losses of any outputs, phases, validation task by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core import random_state, ranks
from dinoir_plugin.core.errors import OptionsError, under
from dinoir_plugin.core.outputs import Outputs, as_outputs
from dinoir_plugin.guidance.guided_arch import GuidedArch, backbone_of
from dinoir_plugin.imaging.paths import image_name
from dinoir_plugin.inference.graphs import Graphs
from dinoir_plugin.inference.sampler import sampler_for
from dinoir_plugin.inference.tiling import DEFAULT_OVERLAP, restore_image
from dinoir_plugin.models.acceleration import compiled, prepare
from dinoir_plugin.models.averages import Averages
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.checkpoints import Checkpoints
from dinoir_plugin.models.distributed import wrapped
from dinoir_plugin.models.losses import StepLoss, build_losses, evaluate
from dinoir_plugin.models.optimizer import make_optimizer
from dinoir_plugin.models.options import PhaseOptions, RunOptions
from dinoir_plugin.models.per_task import PerTask
from dinoir_plugin.models.phases import Phases
from dinoir_plugin.models.provenance import in_one_line, surroundings
from dinoir_plugin.models.results import Figures
from dinoir_plugin.models.step_checks import StopRequest
from dinoir_plugin.models.training_step import TrainingStep
from dinoir_plugin.models.validation import Validation


@MODEL_REGISTRY.register()
class RestorationModel(Checkpoints, SRModel):
    """Train and test any restoration network, guided or not.

    Beside SRModel's options it knows every ``train.<name>_opt`` as a loss (:mod:`dinoir_plugin.models.losses`),
    ``train.phases`` (:mod:`dinoir_plugin.models.phases`), ``train.grad_clip_norm`` (largest norm of all gradients
    together), the optimizers of ``torch.optim`` by name, and how a step is computed: ``train.amp``, ``train.compile``,
    ``train.channels_last`` and ``train.checkpointing`` (:mod:`dinoir_plugin.models.acceleration`). Validation always
    runs in float32, uncompiled: its figures do not depend on them.

    A procedure of its own overrides :meth:`predict`, :meth:`losses` or :meth:`restore`. The log carries each loss, the
    numbers of the guidance method, and the mean absolute error of each task's samples since the last line as
    ``l1/<task>``.
    """

    # what the checks of a run hold its options file against
    declares = RunOptions

    net_g: nn.Module

    # whether a derived model's own way to compute a step looks at tensors alone, so that a CUDA graph may repeat it
    capturable = False

    # of the process: it may end a validation early, which tests have too
    stop_request = StopRequest()
    _stops = False

    _averages: Averages | None = None

    # the phase whose part of the network learns; none before the first iteration, of a resumed run too
    _entered: PhaseOptions | None = None

    def __init__(self, opt: dict[str, Any]) -> None:
        # the host turns it on: a search for the fastest convolution, which takes a minute before the first step and
        # seconds for each new size of an image
        torch.backends.cudnn.benchmark = False
        # of each set that was validated, by an image's number: metric to the value of the degraded image
        self.inputs: dict[str, dict[int, Mapping[str, float]]] = {}
        # of each set that was tested
        self.tested: dict[str, Figures] = {}
        super().__init__(opt)
        net = self.get_bare_model(self.net_g)
        self.check_network(net)
        val = opt.get('val') or {}
        self.sampler = sampler_for(net, val.get('sampler'), 'val.sampler')
        self.graphs = Graphs(val.get('cuda_graph', 'auto'), get_root_logger().info)
        get_root_logger().info(in_one_line(surroundings(self.device)))

    @classmethod
    def check_network(cls, network: nn.Module) -> None:
        """Refuse a network that only another model trains, which the network names as ``trained_by``.

        Raises:
            OptionsError: Its path is ``model_type``.
        """
        wanted = getattr(network, 'trained_by', cls.__name__)
        if wanted not in [kind.__name__ for kind in cls.__mro__]:
            raise OptionsError('model_type', f'{type(network).__name__} is trained by {wanted}, not {cls.__name__}')

    def predict(self, batch: Batch) -> Outputs:
        """Run the network on a training batch, with those of its items that the network's ``takes_items`` names."""
        return self.predict_with(batch)

    def predict_with(self, batch: Batch, **others: Any) -> Outputs:
        """Do what :meth:`predict` does, with what else the network takes by name."""
        net = self.get_bare_model(self.net_g)
        given = {**batch.items(getattr(net, 'takes_items', ())), **others}
        if isinstance(net, GuidedArch):
            given['encodings'] = net.encode(batch.lq, batch.features.reader('lq'))
        return as_outputs(self._run_net(batch.lq, **given))

    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of the phase: name in the log to scalar."""
        return evaluate(self.criteria, outputs, batch, self._phase.losses)

    def restore(self, lq: Tensor) -> Tensor:
        """Restore images with the EMA weights, or the trained ones where there are none.

        In tiles where ``val.tile`` gives their side (and ``val.tile_overlap`` their overlap, 64 pixels by default).

        Args:
            lq: (B, 3, H, W), RGB in [0, 1], on the model's device.

        Returns:
            (B, 3, H, W), RGB, not clipped.
        """
        return self.restore_with(lq)

    @torch.no_grad()
    def restore_with(self, lq: Tensor, **others: Any) -> Tensor:
        """Do what :meth:`restore` does, with what else the network takes by name."""
        # without its wrapper: ranks restore different numbers of images, and DDP would wait for the others
        net: nn.Module = self.get_bare_model(self.net_g_ema if hasattr(self, 'net_g_ema') else self.net_g)
        options = self.opt.get('val') or {}
        training = net.training
        net.eval()
        batch = self.__dict__.get('batch')
        names = [image_name(path) for path in batch.files] if batch is not None and batch.lq is lq else ()
        overlap = options.get('tile_overlap', DEFAULT_OVERLAP)
        restored = restore_image(
            net, lq, options.get('tile'), overlap, sampler=self.sampler, others=others, names=names, graphs=self.graphs
        )
        net.train(training)
        return restored

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Put the network on its device, wrapped for several where there are several."""
        if self.is_train:
            with under('train'):
                net = prepare(net, self.opt['train'])
        if self.is_train and self.opt['dist']:
            return wrapped(net.to(self.device), self.device, self.opt.get('find_unused_parameters', False))
        placed: nn.Module = super().model_to_device(net)
        return placed

    def init_training_settings(self) -> None:
        """Make losses, EMA weights, optimizer and schedulers."""
        train = self.opt['train']
        self.net_g.train()
        self.criteria = build_losses(train, self.get_bare_model(self.net_g), self.device, type(self))
        self._make_ema(train.get('ema_decay', 0))
        self.setup_optimizers()
        self.setup_schedulers()
        self._log: dict[str, Tensor] = {}
        # set to the last iteration at which it was measured
        self.validated: dict[str, int] = {}
        self.per_task = PerTask(self.opt['datasets']['train'].get('tasks') or {}, self.device)
        self.phases = Phases(train.get('phases'))
        self.phases.check(self.get_bare_model(self.net_g), self.criteria)
        self._phase = self.phases.at(1)
        self._run_net = compiled(self.net_g, train)
        self.step = TrainingStep(self, train)
        self.stop_request.listen()
        if not self.opt['path'].get('resume_state'):
            self.log_options_file(0)

    def _make_ema(self, decay: float) -> None:
        self.ema_decay = decay
        if decay <= 0:
            return
        get_root_logger().info(f'Use Exponential Moving Average with decay: {decay}')
        self.net_g_ema = build_network(deepcopy(self.opt['network_g'])).to(self.device)
        paths = self.opt['path']
        if paths.get('pretrain_network_g') is not None:
            strict = paths.get('strict_load_g', True)
            self.load_network(self.net_g_ema, paths['pretrain_network_g'], strict, 'params_ema')
        else:
            self.model_ema(0)
        self.net_g_ema.eval()

    def get_optimizer(
        self, optim_type: str, params: Iterable[Tensor], lr: float, **kwargs: Any
    ) -> torch.optim.Optimizer:
        """Make an optimizer of ``torch.optim`` by name; BasicSR 1.4.2 itself knows Adam only."""
        return make_optimizer(optim_type, params, lr=lr, **kwargs)

    def model_ema(self, decay: float = 0.999) -> None:
        """Average all parameters, as BasicSR's models do."""
        self.average(decay, None)

    def average(self, decay: float, made: Tensor | None) -> None:
        """Average all parameters after a step; see :meth:`~dinoir_plugin.models.averages.Averages.update`."""
        if self._averages is None:
            self._averages = Averages(self.net_g_ema, self.get_bare_model(self.net_g))
        self._averages.update(decay, made)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch of a loader: ``lq`` and, in training, ``gt``, (B, 3, H, W), RGB in [0, 1]."""
        numbers = self.per_task.numbers if self.is_train else None
        self.batch = Batch.of(data, self.device, numbers)
        # what BasicSR's own methods read; the target of an earlier batch is none of this one
        self.lq = self.batch.lq
        self.__dict__.pop('gt', None)
        if self.batch.gt is not None:
            self.gt = self.batch.gt

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin an iteration: the trainer calls this first. Where the run was told to stop, it is the last call.

        Raises:
            SystemExit: After a checkpoint of the iteration before.
        """
        if self._stops:
            self._stop_after(current_iter - 1)
        super().update_learning_rate(current_iter, warmup_iter)
        self._enter_phase(current_iter)
        for loss in self.criteria.values():
            if isinstance(loss, StepLoss):
                loss.begin(current_iter)

    def _stop_after(self, done: int) -> None:
        # set by our build_dataloader; without it a run of other data goes on from the start of the data
        epoch_iters = self.opt['datasets']['train'].get('epoch_iters') or done + 1
        self.save((done - 1) // epoch_iters, done)
        get_root_logger().warning(
            f'Stopped by {self.stop_request.words} after iteration {done}, which was saved; --auto_resume goes on from '
            'there.'
        )
        raise SystemExit(self.stop_request.status)

    def _enter_phase(self, iteration: int) -> None:
        phase = self.phases.at(iteration)
        if phase is self._entered:
            return
        self._phase = self._entered = phase
        net = self.get_bare_model(self.net_g)
        changed = self.phases.choose_learning(net, self._phase)
        if self._phase.stage is not None:
            backbone: Any = backbone_of(net)
            backbone.enter_stage(self._phase.stage)
        if changed and (self.opt['dist'] or self.opt['train'].get('compile')):
            self.net_g = self.model_to_device(net)
            self._run_net = compiled(self.net_g, self.opt['train'])
        self.step.prepare()
        self.phases.set_learning_rate(iteration, self.optimizers, self.schedulers)

    def optimize_parameters(self, current_iter: int) -> None:
        """Make one training step on the batch of :meth:`feed_data`.

        Raises:
            TrainingError: A loss or gradient is not finite; the weights were not touched.
        """
        self.count_samples()
        self.make_step(self.batch, current_iter)

    def count_samples(self) -> None:
        """Count the batch's samples of all ranks, by which a resumed run knows where it is."""
        self._samples += len(self.batch.lq) * ranks.world_size()

    def make_step(self, batch: Batch, current_iter: int, share: float = 1.0, last: bool = True) -> None:
        """Make one step of the optimizer, of which an iteration may have several; the log is of the last one.

        Args:
            batch: What is learned from.
            current_iter: The iteration, for errors.
            share: Factor of the losses, where this rank's batch counts more or less than those of the others.
            last: Whether it is the iteration's last one, after which weights are averaged.

        Raises:
            TrainingError: As :meth:`optimize_parameters`.
        """
        self._stops = self.step.make(batch, current_iter, self.stop_request.came, share, last)

    def log_step(self, log: dict[str, Tensor]) -> None:
        """Keep a step's numbers for the log."""
        self._log = log

    def prepared(self, batch: Batch) -> Batch:
        """Tell a batch how images are padded, and what the network and the losses will ask of encoders."""
        net = self.get_bare_model(self.net_g)
        guided = isinstance(net, GuidedArch)
        wants = [('lq', net.method.wants())] if guided else []
        for loss in self.criteria.values():
            if isinstance(loss, StepLoss):
                wants += [('lq', loss.wants()), ('gt', loss.wants())]
        return batch.encoded_for(net.padded if guided else lambda image: image, wants)

    def test(self) -> None:
        """Restore the batch of :meth:`feed_data` into ``self.output``."""
        self.output = self.restore(self.lq)

    def get_current_log(self) -> dict[str, float]:
        """Give losses and scores of the last step, and each task's L1 since the last call, averaged over ranks.

        Reduced here and not in each step: the numbers are asked for every ``print_freq`` steps only, on all ranks.
        """
        return {**self.reduce_loss_dict(self._log), **self.per_task.means(self.reduce_loss_dict)}

    def nondist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Report metrics of each task and their average, in the log and TensorBoard; see :class:`Validation`."""
        with random_state.kept():
            Validation(self, dataloader, current_iter, save_img).run(tb_logger)
        # their memory is for the next training step
        self.graphs.forget()

    def dist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Do the same with the images shared out to the ranks; BasicSR's own leaves all of them to the first rank."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)
