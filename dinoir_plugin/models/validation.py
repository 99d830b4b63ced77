"""Validation task by task: all-in-one restoration is judged on each degradation, then on their average."""

from __future__ import annotations

from os import path as osp
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from dinoir_plugin.models import ranks

if TYPE_CHECKING:
    import numpy as np

    from dinoir_plugin.models.dinoir_model import DINOIRModel


class Measured(NamedTuple):
    """Metrics of a picture.

    Attributes:
        number: Its place in the data set.
        task: Its task, empty where the data set has none.
        values: Metric to value.
    """

    number: int
    task: str
    values: dict[str, float]


class Validation:
    """One pass of a model over one validation or test set.

    Args:
        model: Restores what it is fed.
        dataloader: Of a data set whose items have ``lq``, ``lq_path``, and optionally ``gt`` and ``task``.
        current_iter: The iteration, or the run's name in a test.
        save_img: Whether the restored pictures are written to ``visualization/<data set>/<task>/``.
    """

    def __init__(self, model: DINOIRModel, dataloader: Any, current_iter: int | str, save_img: bool) -> None:
        self.model = model
        self.dataloader = dataloader
        self.current_iter = current_iter
        self.save_img = save_img
        self.options = model.opt['val']
        self.name: str = dataloader.dataset.opt['name']
        self.metrics: dict[str, dict[str, Any]] = self.options.get('metrics') or {}

    def run(self, tb_logger: Any) -> None:
        """Restore, measure, report; all ranks call this together, and the first one reports.

        ``model.metric_results`` holds the average afterwards: over the tasks, each of which counts the same however
        many pictures it has. Pictures count in the data set's order on any number of ranks, so that their sum is the
        same to the last digit.
        """
        own = self._measure()
        (stopped,) = ranks.on_any([self.model.stop_request.came], self.model.device)
        pictures = sorted((picture for part in ranks.gather(own) for picture in part), key=lambda entry: entry.number)
        if stopped:
            get_root_logger().warning(f'Validation {self.name} was broken off: the run has been told to stop.')
        elif self.metrics and ranks.number() == 0:
            self._report(pictures, tb_logger)

    def _report(self, pictures: list[Measured], tb_logger: Any) -> None:
        model = self.model
        tasks = list(dict.fromkeys(picture.task for picture in pictures))
        means = {task: _means([picture.values for picture in pictures if picture.task == task]) for task in tasks}
        model._initialize_best_metric_results(self.name)
        model.metric_results = {metric: sum(m[metric] for m in means.values()) / len(means) for metric in self.metrics}
        for metric, value in model.metric_results.items():
            model._update_best_metric_result(self.name, metric, value, self.current_iter)
        if model.is_train:
            model.remember_best()
        model._log_validation_metric_values(self.current_iter, self.name, tb_logger)
        if len(means) > 1:
            self._report_tasks(means, tb_logger)

    def _measure(self) -> list[Measured]:
        """Restore and measure this rank's share of the pictures: every ``ranks.count()``-th."""
        dataset = self.dataloader.dataset
        numbers = range(ranks.number(), len(dataset), ranks.count())
        # BasicSR's own loader of a validation set reads one picture at a time in this process, but all of them
        loader = DataLoader(Subset(dataset, list(numbers)), batch_size=1)
        hidden = ranks.number() > 0 or not self.options.get('pbar', False)
        measured = []
        for batch, number in zip(tqdm(loader, desc=f'Test {self.name}', unit='image', disable=hidden), numbers):
            if self.model.stop_request.came:
                break
            task = batch.get('task', [''])[0]
            images = self._restore(batch)
            if self.save_img:
                imwrite(images['img'], self._save_path(_result_name(batch['lq_path'][0]), task))
            values = {metric: float(calculate_metric(images, options)) for metric, options in self.metrics.items()}
            measured.append(Measured(number, task, values))
        return measured

    def _restore(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        """The restored picture and, where known, the target: (H, W, 3), BGR, uint8, as BasicSR's metrics take them."""
        model = self.model
        model.feed_data(batch)
        model.test()
        visuals = model.get_current_visuals()
        images = {'img': tensor2img([visuals['result']])}
        if 'gt' in visuals:
            images['img2'] = tensor2img([visuals['gt']])
            del model.gt
        del model.lq, model.output
        if model.device.type == 'cuda':
            torch.cuda.empty_cache()
        return images

    def _save_path(self, filename: str, task: str) -> str:
        opt = self.model.opt
        suffix = self.current_iter if opt['is_train'] else self.options.get('suffix') or opt['name']
        stem = osp.splitext(filename)[0]
        return osp.join(opt['path']['visualization'], self.name, task, f'{stem}_{suffix}.png')

    def _report_tasks(self, means: dict[str, dict[str, float]], tb_logger: Any) -> None:
        lines = [f'Validation {self.name}, task by task']
        for task, table in means.items():
            lines.append(f'\t # {task}: ' + ', '.join(f'{metric} {value:.4f}' for metric, value in table.items()))
            if tb_logger:
                for metric, value in table.items():
                    tb_logger.add_scalar(f'metrics/{self.name}/{task}/{metric}', value, self.current_iter)
        get_root_logger().info('\n'.join(lines))


def _means(tables: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric."""
    return {metric: sum(table[metric] for table in tables) / len(tables) for metric in tables[0]}


def _result_name(path: str) -> str:
    """What to call a restored picture: an LMDB's keys may hold folders (``GOPR_01/000047``), which go into the name."""
    _, root, below = path.rpartition('.lmdb/')
    return below.replace('/', '_') if root else osp.basename(path)
