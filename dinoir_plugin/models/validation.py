"""Validation task by task: all-in-one restoration is judged on each degradation, then on their average."""

from __future__ import annotations

import functools
from os import path as osp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from dinoir_plugin.core import ranks
from dinoir_plugin.data.workers import start_worker
from dinoir_plugin.metrics.measures import Measures
from dinoir_plugin.models import results
from dinoir_plugin.models.results import Measured

if TYPE_CHECKING:
    import numpy as np

READERS = 2  # processes that read images while a GPU restores


class Validation:
    """Take one pass of a model over one validation or test set.

    Args:
        model: A RestorationModel; restores what it is fed.
        dataloader: Of a data set whose items have ``lq``, ``lq_path``, and optionally ``gt`` and ``task``.
        current_iter: The iteration, or the run's name in a test.
        save_img: Whether the restored images are written to ``visualization/<data set>/<task>/``.
    """

    def __init__(self, model: SRModel, dataloader: Any, current_iter: int | str, save_img: bool) -> None:
        self.model = model
        self.dataloader = dataloader
        self.current_iter = current_iter
        if model.is_train and isinstance(current_iter, int):
            # BasicSR gives the last validation a number beyond the last iteration
            self.current_iter = min(current_iter, model.opt['train']['total_iter'])
        self.save_img = save_img
        self.options = model.opt['val']
        self.name: str = dataloader.dataset.opt['name']
        self.measures = Measures(self.options.get('metrics') or {}, model.device)

    def run(self, tb_logger: Any) -> None:
        """Restore, measure, report; all ranks call this together, and the first one reports.

        ``model.metric_results`` holds the average afterwards: over the tasks, each of which counts the same however
        many images it has. FID too is the mean of the tasks' FIDs, not that of all images together. Images count
        in the data set's order on any number of ranks, so that figures are the same to the last digit.
        """
        model = self.model
        if model.is_train and model.validated.get(self.name) == self.current_iter:
            # the host validates once more when training ends
            get_root_logger().info(f'Validation {self.name}: the figures of iteration {self.current_iter} stand above.')
            return
        for network in (model.net_g, *([model.net_g_ema] if hasattr(model, 'net_g_ema') else [])):
            ranks.share_statistics(network)
        own = self._measure()
        (stopped,) = ranks.on_any([self.model.stop_request.came], self.model.device)
        images = sorted((image for part in ranks.gather(own) for image in part), key=lambda entry: entry.number)
        if stopped:
            get_root_logger().warning(f'Validation {self.name} was broken off: the run has been told to stop.')
            return
        if model.is_train:
            model.validated[self.name] = self.current_iter
        if self.measures.names and ranks.rank() == 0:
            self._report(images, tb_logger)

    def _report(self, images: list[Measured], tb_logger: Any) -> None:
        model = self.model
        tasks = list(dict.fromkeys(image.task for image in images))
        means = {task: self._of_task([image for image in images if image.task == task]) for task in tasks}
        model._initialize_best_metric_results(self.name)
        names = [name for name in self.measures.names if all(name in table for table in means.values())]
        if not names:
            get_root_logger().warning(f'Validation {self.name}: no figures, as its images have no targets.')
            return
        model.metric_results = {metric: sum(m[metric] for m in means.values()) / len(means) for metric in names}
        for metric, value in model.metric_results.items():
            model._update_best_metric_result(self.name, metric, value, self.current_iter)
        if model.is_train:
            model.remember_best()
        model._log_validation_metric_values(self.current_iter, self.name, tb_logger)
        if len(means) > 1:
            self._report_tasks(means, tb_logger)
        results.write(self._results_folder(), self.name, self.current_iter, means, images)

    def _measure(self) -> list[Measured]:
        """Restore and measure this rank's share of the images: every ``ranks.world_size()``-th."""
        dataset = self.dataloader.dataset
        numbers = range(ranks.rank(), len(dataset), ranks.world_size())
        # BasicSR's own loader of a validation set reads one image at a time in this process, but all of them
        on_gpu = self.model.device.type == 'cuda'
        loader = DataLoader(
            Subset(dataset, list(numbers)),
            batch_size=1,
            num_workers=READERS if on_gpu else 0,
            worker_init_fn=functools.partial(start_worker, seed=None),
            pin_memory=on_gpu,
        )
        hidden = ranks.rank() > 0 or not self.options.get('pbar', False)
        measured = []
        for batch, number in zip(tqdm(loader, desc=f'Test {self.name}', unit='image', disable=hidden), numbers):
            if self.model.stop_request.came:
                break
            task = batch.get('task', [''])[0]
            name = _result_name(batch['lq_path'][0])
            images, floats = self._restore(batch)
            if self.save_img:
                imwrite(images['img'], self._save_path(name, task))
            measured.append(Measured(number, task, name, *self.measures.of_image(name, images, floats)))
        return measured

    def _of_task(self, images: list[Measured]) -> dict[str, float]:
        return self.measures.of_task([image.values for image in images], [image.kept for image in images])

    def _restore(self, batch: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Give the restored image (``img``) and, where known, the target (``img2``), as metrics take them.

        Returns:
            (H, W, 3), BGR, uint8, for BasicSR's metrics; and the same in RGB, float32 in [0, 1], not rounded.
        """
        model = self.model
        model.feed_data(batch)
        model.test()
        visuals = model.get_current_visuals()
        pairs = [('img', visuals['result']), *([('img2', visuals['gt'])] if 'gt' in visuals else [])]
        images = {key: tensor2img([value]) for key, value in pairs}
        floats = {key: value[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() for key, value in pairs}
        if 'gt' in visuals:
            del model.gt
        del model.lq, model.output
        return images, floats

    def _save_path(self, filename: str, task: str) -> str:
        opt = self.model.opt
        suffix = self.current_iter if opt['is_train'] else self.options.get('suffix') or opt['name']
        stem = osp.splitext(filename)[0]
        return osp.join(opt['path']['visualization'], self.name, task, f'{stem}_{suffix}.png')

    def _results_folder(self) -> Path:
        paths = self.model.opt['path']
        return Path(paths['experiments_root'] if self.model.is_train else paths['results_root'])

    def _report_tasks(self, means: dict[str, dict[str, float]], tb_logger: Any) -> None:
        lines = [f'Validation {self.name}, task by task']
        for task, table in means.items():
            lines.append(f'\t # {task}: ' + ', '.join(f'{metric} {value:.4f}' for metric, value in table.items()))
            if tb_logger:
                for metric, value in table.items():
                    tb_logger.add_scalar(f'metrics/{self.name}/{task}/{metric}', value, self.current_iter)
        get_root_logger().info('\n'.join(lines))


def _result_name(path: str) -> str:
    """Name a restored image: an LMDB's keys may hold folders (``GOPR_01/000047``), which go into the name.

    Bytes that are no UTF-8 become escapes, since OpenCV writes no such names.
    """
    _, root, below = path.rpartition('.lmdb/')
    name = below.replace('/', '_') if root else osp.basename(path)
    return name.encode(errors='surrogateescape').decode(errors='backslashreplace')
