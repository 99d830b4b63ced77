"""What BasicSR's trainer drives: L1 and DPC losses, gradient clipping, validation task by task."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from dinoir_plugin.core import random_state, ranks
from dinoir_plugin.core.errors import under
from dinoir_plugin.inference.tiling import DEFAULT_OVERLAP, restore_image
from dinoir_plugin.methods.dinoir.dinoir_arch import DINOIRArch
from dinoir_plugin.methods.dinoir.dpc_loss import DPCLoss, halves
from dinoir_plugin.models.acceleration import Precision, compiled, prepare
from dinoir_plugin.models.checkpoints import Checkpoints
from dinoir_plugin.models.optimizer import make_optimizer
from dinoir_plugin.models.per_task import PerTask
from dinoir_plugin.models.step_checks import REQUEUE, Finite, StopRequest, describe
from dinoir_plugin.models.validation import Validation


@MODEL_REGISTRY.register()
class DINOIRModel(Checkpoints, SRModel):
    """Trains and tests a :class:`DINOIRArch`, or any other arch as its unguided baseline.

    L = L1 + lambda * L_DINO. Beside SRModel's options it knows ``train.dpc_opt``
    (:class:`~dinoir_plugin.methods.dinoir.dpc_loss.DPCLoss`), ``train.grad_clip_norm`` (largest norm of all gradients
    together), the optimizers of ``torch.optim`` by name, and how a step is computed: ``train.amp``, ``train.compile``,
    ``train.channels_last`` and ``train.checkpointing`` (:mod:`dinoir_plugin.models.acceleration`). Validation always
    runs in float32, uncompiled: its figures do not depend on them.

    A step encodes ``lq`` and ``gt`` in one pass without gradients, which serves guidance and loss, and the output in
    one with. The log carries ``l_pix``, ``l_dpc``, the gate's mean scores as ``psf/<level>``, and the mean absolute
    error of each task's samples since the last line as ``l1/<task>``.
    """

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """The network on its device, wrapped for several where there are several."""
        if self.is_train:
            with under('train'):
                net = prepare(net, self.opt['train'])
        wrapped: nn.Module = super().model_to_device(net)
        return wrapped

    # of the process: it may end a validation early, which tests have too
    stop_request = StopRequest()
    _stops = False

    # the averages and what is averaged: lists kept, because walking the modules costs as much as the arithmetic
    _averages: list[Tensor] | None = None

    def init_training_settings(self) -> None:
        """Losses, EMA, optimizer and schedulers."""
        self.cri_dpc: DPCLoss | None = None
        if self.opt['train'].get('dpc_opt'):
            self.cri_dpc = self._build_dpc(self.opt['train']['dpc_opt'])
        super().init_training_settings()
        self._log: OrderedDict[str, Tensor] = OrderedDict()
        self._per_task = PerTask(self.opt['datasets']['train'].get('tasks') or {}, self.device)
        self.precision = Precision(self.opt['train'].get('amp'), self.device)
        self.precision.remember_in(self.optimizer_g)
        self._run_net = compiled(self.net_g, self.opt['train'])
        self.finite = Finite(self.opt['train'].get('on_nonfinite', 'stop'))
        self.stop_request.listen()

    def get_optimizer(
        self, optim_type: str, params: Iterable[Tensor], lr: float, **kwargs: Any
    ) -> torch.optim.Optimizer:
        """See :func:`~dinoir_plugin.models.optimizer.make_optimizer`; BasicSR 1.4.2 itself knows Adam only."""
        return make_optimizer(optim_type, params, lr=lr, **kwargs)

    def model_ema(self, decay: float = 0.999) -> None:
        """EMA of all parameters in one call; most of the host's loop over them is spent between the numbers.

        Buffers, the running statistics of batch norms, are taken over as they are: averages already.
        """
        if self._averages is None:
            net = self.get_bare_model(self.net_g)
            self._averages = [p.detach() for p in self.net_g_ema.parameters()]
            self._averaged = [p.detach() for p in net.parameters()]
            self._buffers = list(zip(self.net_g_ema.buffers(), net.buffers()))
        torch._foreach_lerp_(self._averages, self._averaged, 1 - decay)
        for taken, buffer in self._buffers:
            taken.copy_(buffer)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch of a loader: ``lq`` and, in training, ``gt``, (B, 3, H, W), RGB in [0, 1]."""
        self.lq = data['lq'].to(self.device, non_blocking=True)
        if 'gt' in data:
            self.gt = data['gt'].to(self.device, non_blocking=True)
        self.tasks: list[str] = data.get('task', [])
        self.files: list[str] = data.get('lq_path', [])

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """What the trainer calls first in an iteration; where the run was told to stop, the last thing that it calls.

        Raises:
            SystemExit: With status REQUEUE, after a checkpoint of the iteration before.
        """
        if self._stops:
            done = current_iter - 1
            # set by our build_dataloader; without it a run of other data goes on from the start of the data
            epoch_iters = self.opt['datasets']['train'].get('epoch_iters') or current_iter
            self.save((done - 1) // epoch_iters, done)
            get_root_logger().warning(
                f'Stopped by SIGTERM after iteration {done}, which was saved; --auto_resume goes on from there.'
            )
            raise SystemExit(REQUEUE)
        super().update_learning_rate(current_iter, warmup_iter)

    def optimize_parameters(self, current_iter: int) -> None:
        """One training step on the batch of :meth:`feed_data`.

        Raises:
            TrainingError: A loss or gradient is not finite; the weights were not touched.
        """
        self.optimizer_g.zero_grad()
        with self.precision.autocast():
            losses = self._forward_losses()
        total = torch.stack(list(losses.values())).sum()
        max_norm = self.opt['train'].get('grad_clip_norm') or 0
        norm = self.precision.backward(total, self.optimizer_g, self.net_g.parameters(), max_norm)
        # in fp16 gradients overflow as a matter of course, and the scale takes care of them
        watched = {**losses} if self.precision.scaler.is_enabled() else {**losses, 'the norm of the gradients': norm}
        bad, what = describe(watched, self.tasks, self.files)
        bad, self._stops = ranks.on_any([bad, self.stop_request.came], self.device)
        if self.finite.allows(bad, current_iter, what):
            self.precision.step(self.optimizer_g)
            if self.ema_decay > 0:
                self.model_ema(decay=self.ema_decay)
            self._per_task.add(self.tasks, self.output, self.gt)
        else:
            self.precision.leave_out()
        self._log = OrderedDict((name, loss.detach()) for name, loss in losses.items())
        self._log.update(self._psf_scores())

    def test(self) -> None:
        """Restore the batch of :meth:`feed_data` with the averaged network, or the trained one where there is none.

        In tiles where ``val.tile`` gives their side (and ``val.tile_overlap`` their overlap, 64 pixels by default).
        """
        # without its wrapper: ranks restore different numbers of images, and DDP would wait for the others
        net: nn.Module = self.get_bare_model(self.net_g_ema if hasattr(self, 'net_g_ema') else self.net_g)
        options = self.opt.get('val') or {}
        training = net.training
        net.eval()
        with torch.no_grad():
            overlap = options.get('tile_overlap', DEFAULT_OVERLAP)
            self.output = restore_image(net, self.lq, options.get('tile'), overlap)
        net.train(training)

    def get_current_log(self) -> dict[str, float]:
        """Losses and scores of the last step, and each task's L1 since the last call, averaged over ranks.

        Reduced here and not in each step: the numbers are asked for every ``print_freq`` steps only, on all ranks.
        """
        return {**self.reduce_loss_dict(self._log), **self._per_task.means(self.reduce_loss_dict)}

    def nondist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Metrics of each task and their average, in the log and TensorBoard; see :class:`Validation`."""
        with random_state.kept():
            Validation(self, dataloader, current_iter, save_img).run(tb_logger)

    def dist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """The same, with the images shared out to the ranks; BasicSR's own leaves all of them to the first rank."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def _forward_losses(self) -> OrderedDict[str, Tensor]:
        losses: OrderedDict[str, Tensor] = OrderedDict()
        net = self.get_bare_model(self.net_g)
        if isinstance(net, DINOIRArch) and self.cri_dpc is not None and self.cri_dpc.encoder is net.encoder:
            with torch.no_grad():
                both = net.encode(torch.cat([self.lq, self.gt]), self.cri_dpc.layers)
            lq_features, gt_features = halves(both)
            self.output = self._run_net(self.lq, features=lq_features)
            losses['l_dpc'] = self.cri_dpc.from_features(net.padded(self.output), gt_features, lq_features)
        else:
            self.output = self._run_net(self.lq)
            if self.cri_dpc is not None:
                losses['l_dpc'] = self.cri_dpc(self.output, self.gt, self.lq)
        if self.cri_pix:
            losses['l_pix'] = self.cri_pix(self.output, self.gt)
            losses.move_to_end('l_pix', last=False)
        if self.cri_perceptual:
            for name, loss in zip(('l_percep', 'l_style'), self.cri_perceptual(self.output, self.gt)):
                if loss is not None:
                    losses[name] = loss
        return losses

    def _psf_scores(self) -> dict[str, Tensor]:
        net = self.get_bare_model(self.net_g)
        scores = getattr(net, 'psf_scores', None)
        if scores is None:
            return {}
        return {f'psf/{level}': score for level, score in zip(net.layers, scores.mean(dim=0))}

    def _build_dpc(self, options: dict[str, Any]) -> DPCLoss:
        """The DPC loss; the network's encoder serves where the options name none, or name the same."""
        options = dict(options)
        net = self.get_bare_model(self.net_g)
        if options.get('encoder') is None and isinstance(net, DINOIRArch):
            options['encoder'] = net.encoder
        with under('train.dpc_opt'):
            return build_loss(options).to(self.device)
