"""Validation task by task: all-in-one restoration is judged on each degradation, then on their average."""

from __future__ import annotations

from collections import defaultdict
from os import path as osp
from typing import TYPE_CHECKING, Any

import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from tqdm import tqdm

if TYPE_CHECKING:
    import numpy as np

    from dinoir_plugin.models.dinoir_model import DINOIRModel


class Validation:
    """One pass of a model over one validation or test set.

    Args:
        model: Restores what it is fed.
        dataloader: Batches of one picture: ``lq``, ``lq_path``, optionally ``gt`` and ``task``.
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
        """Restore, measure, report.

        ``model.metric_results`` holds the average afterwards: over the tasks, each of which counts the same however
        many pictures it has.
        """
        per_task = self._measure()
        if not self.metrics:
            return
        model = self.model
        model._initialize_best_metric_results(self.name)
        means = {
            task: {metric: sum(values) / len(values) for metric, values in table.items()}
            for task, table in per_task.items()
        }
        model.metric_results = {metric: sum(m[metric] for m in means.values()) / len(means) for metric in self.metrics}
        for metric, value in model.metric_results.items():
            model._update_best_metric_result(self.name, metric, value, self.current_iter)
        model._log_validation_metric_values(self.current_iter, self.name, tb_logger)
        if len(means) > 1:
            self._report_tasks(means, tb_logger)

    def _measure(self) -> dict[str, dict[str, list[float]]]:
        """Metric values of each picture: task to metric to values."""
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        bar = tqdm(self.dataloader, desc=f'Test {self.name}', unit='image', disable=not self.options.get('pbar', False))
        for batch in bar:
            task = batch.get('task', [''])[0]
            images = self._restore(batch)
            if self.save_img:
                imwrite(images['img'], self._save_path(_result_name(batch['lq_path'][0]), task))
            for metric, options in self.metrics.items():
                values[task][metric].append(float(calculate_metric(images, options)))
        return values

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


def _result_name(path: str) -> str:
    """What to call a restored picture: an LMDB's keys may hold folders (``GOPR_01/000047``), which go into the name."""
    _, root, below = path.rpartition('.lmdb/')
    return below.replace('/', '_') if root else osp.basename(path)
