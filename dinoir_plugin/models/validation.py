"""Validation task by task: all-in-one restoration is judged on each degradation, then on their average."""

from __future__ import annotations

import functools
from collections.abc import Callable
from os import path as osp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from dinoir_plugin.core import ranks
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.transfer import OnTheWay
from dinoir_plugin.data.workers import start_worker
from dinoir_plugin.metrics.measures import Measures, comparing
from dinoir_plugin.models import results
from dinoir_plugin.models.beside import Beside
from dinoir_plugin.models.figures_log import add_scalars, add_strip, lines_by_task, lines_of, shown_of
from dinoir_plugin.models.provenance import about
from dinoir_plugin.models.result_table import write_results
from dinoir_plugin.models.results import Figures, Measured, average

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
        metrics = self.options.get('metrics') or {}
        self.measures = Measures(metrics, model.device)
        # what the degraded images are worth does not change in a run
        unknown = self.options.get('input', True) and self.name not in model.inputs
        self.input_measures = Measures(comparing(metrics) if unknown else {}, model.device)

    def run(self, tb_logger: Any) -> None:
        """Restore, measure, report; all ranks call this together, and the first one reports.

        ``model.metric_results`` holds the average afterwards: over the tasks, each of which counts the same however
        many images it has. FID too is the mean of the tasks' FIDs, not that of all images together. Images count
        in the data set's order on any number of ranks, so that figures are the same to the last digit. The first
        time in a run the degraded images are measured, too.
        """
        model = self.model
        if model.is_train and model.validated.get(self.name) == self.current_iter:
            # the host validates once more when training ends
            get_root_logger().info(f'Validation {self.name}: the figures of iteration {self.current_iter} stand above.')
            return
        for network in (model.net_g, *([model.net_g_ema] if hasattr(model, 'net_g_ema') else [])):
            ranks.share_statistics(network)
        own = self._measure(tb_logger)
        (stopped,) = ranks.on_any([self.model.stop_request.came], self.model.device)
        images = sorted((image for part in ranks.gather(own) for image in part), key=lambda entry: entry.number)
        if stopped:
            get_root_logger().warning(f'Validation {self.name} was broken off: the run has been told to stop.')
            return
        if model.is_train:
            model.validated[self.name] = self.current_iter
        if self.input_measures.names:
            model.inputs[self.name] = {image.number: image.input for image in images}
        if self.measures.names and ranks.rank() == 0:
            self._report(images, tb_logger)

    def _report(self, images: list[Measured], tb_logger: Any) -> None:
        model = self.model
        known = model.inputs.get(self.name, {})
        images = [image._replace(input=known.get(image.number, {})) for image in images]
        figures = self._figures(images)
        model.metric_results = average(figures.means)
        if not model.metric_results:
            get_root_logger().warning(f'Validation {self.name}: no figures, as its images have no targets.')
            return
        best = self._best() if model.is_train else None
        get_root_logger().info(lines_of(self.name, figures, best))
        if len(figures.means) > 1:
            get_root_logger().info(lines_by_task(self.name, figures))
        if tb_logger:
            add_scalars(tb_logger, self.name, figures, self.current_iter)
        facts = about(model.opt, model.origin, model.device)
        results.write(self._results_folder(), self.name, self.current_iter, figures, images, facts)
        if not model.is_train:
            model.tested[self.name] = figures
            write_results(self._results_folder(), model.tested, facts)

    def _best(self) -> dict[str, Any]:
        """Keep what is the best so far; returns BasicSR's record of this set."""
        model = self.model
        model._initialize_best_metric_results(self.name)
        for metric, value in model.metric_results.items():
            model._update_best_metric_result(self.name, metric, value, self.current_iter)
        model.remember_best()
        record: dict[str, Any] = model.best_metric_results[self.name]
        return record

    def _figures(self, images: list[Measured]) -> Figures:
        by_task: dict[str, list[Measured]] = {}
        for image in images:
            by_task.setdefault(image.task, []).append(image)
        means = {
            task: self.measures.of_task([image.values for image in some], [image.kept for image in some])
            for task, some in by_task.items()
        }
        of_input = {
            task: self.measures.of_task([image.input for image in some], [{} for _ in some])
            for task, some in by_task.items()
        }
        return Figures(means, of_input)

    def _measure(self, tb_logger: Any) -> list[Measured]:
        """Judge this rank's share of the images: every ``ranks.world_size()``-th."""
        dataset = self.dataloader.dataset
        numbers = self._chosen(len(dataset))[ranks.rank() :: ranks.world_size()]
        # BasicSR's own loader of a validation set reads one image at a time in this process, but all of them
        on_gpu = self.model.device.type == 'cuda'
        loader = DataLoader(
            Subset(dataset, numbers),
            batch_size=1,
            num_workers=READERS if on_gpu else 0,
            worker_init_fn=functools.partial(start_worker, seed=None),
            pin_memory=on_gpu,
        )
        hidden = ranks.rank() > 0 or not self.options.get('pbar', False)
        shown = shown_of(numbers) if tb_logger else ()
        # while one image is judged, the next one is restored
        beside: Beside[Measured] = Beside(self.model.device)
        with beside:
            for batch, number in zip(tqdm(loader, desc=f'Test {self.name}', unit='image', disable=hidden), numbers):
                if self.model.stop_request.came:
                    break
                beside.do(self.judging(batch, number, tb_logger if number in shown else None))
            return beside.results()

    def _chosen(self, count: int) -> list[int]:
        """Choose the images by ``val.max_images``, and say so where some are left out."""
        most = self.options.get('max_images') or count
        if most >= count:
            return list(range(count))
        get_root_logger().info(
            f'Validation {self.name}: {most} of {count} images, spread evenly over the set (val.max_images).'
        )
        return [number * count // most for number in range(most)]

    def judging(self, batch: dict[str, Any], number: int, tb_logger: Any) -> Callable[[], Measured]:
        """Restore one image, and give what measures it; on a GPU that is called by another thread.

        Args:
            batch: Of the loader, with this image alone.
            number: Its place in the data set.
            tb_logger: TensorBoard's writer, where the image is shown there; else None.
        """
        task = batch.get('task', [''])[0]
        name = result_name(batch['lq_path'][0])
        restored = self._restore(batch)
        if tb_logger:
            visuals = restored.arrived()
            strip = [visuals[key][0] for key in ('lq', 'result', 'gt') if key in visuals]
            place = '/'.join(filter(None, (self.name, task, osp.splitext(name)[0])))
            add_strip(tb_logger, place, strip, self.current_iter)
        return lambda: self._measured(number, task, name, restored.arrived())

    def _measured(self, number: int, task: str, name: str, visuals: dict[str, Tensor]) -> Measured:
        """Write and measure one image; ``visuals`` are (1, C, H, W), RGB, on the CPU."""
        images, floats = _pair(visuals, 'result')
        if self.save_img:
            self._write(images['img'], self._save_path(name, task))
        values, kept = self.measures.of_image(name, images, floats)
        return Measured(number, task, name, values, kept, self._of_input(name, visuals))

    def _of_input(self, name: str, visuals: dict[str, Tensor]) -> dict[str, float]:
        """Measure the degraded image itself, where it is asked for and has the target's size."""
        if not self.input_measures.names or 'gt' not in visuals or visuals['lq'].shape != visuals['gt'].shape:
            return {}
        return self.input_measures.of_image(f'the input of {name}', *_pair(visuals, 'lq'))[0]

    def _restore(self, batch: dict[str, Any]) -> OnTheWay:
        """Give ``lq``, ``result`` and, where known, ``gt``, each (1, C, H, W), RGB, on their way to the CPU."""
        model = self.model
        model.feed_data(batch)
        model.test()
        found = {'lq': model.lq, 'result': model.output, **({'gt': model.gt} if hasattr(model, 'gt') else {})}
        if 'gt' in found:
            del model.gt
        del model.lq, model.output
        return OnTheWay(found)

    def _write(self, image: np.ndarray, path: str) -> None:
        try:
            imwrite(image, path)
        except OSError as error:
            raise FileError(f'{path}: the restored image cannot be written ({error})') from error

    def _save_path(self, filename: str, task: str) -> str:
        opt = self.model.opt
        suffix = self.current_iter if opt['is_train'] else self.options.get('suffix') or opt['name']
        stem = osp.splitext(filename)[0]
        return osp.join(opt['path']['visualization'], self.name, task, f'{stem}_{suffix}.png')

    def _results_folder(self) -> Path:
        paths = self.model.opt['path']
        return Path(paths['experiments_root'] if self.model.is_train else paths['results_root'])


def _pair(visuals: dict[str, Tensor], key: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give an image (``img``) and, where known, the target (``img2``), as metrics take them.

    Returns:
        (H, W, 3), BGR, uint8, for BasicSR's metrics; and the same in RGB, float32 in [0, 1], not rounded.
    """
    pair = {'img': visuals[key], **({'img2': visuals['gt']} if 'gt' in visuals else {})}
    images = {name: tensor2img([value]) for name, value in pair.items()}
    floats = {name: value[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() for name, value in pair.items()}
    return images, floats


def result_name(path: str) -> str:
    """Name a restored image: an LMDB's keys may hold folders (``GOPR_01/000047``), which go into the name.

    Bytes that are no UTF-8 become escapes, since OpenCV writes no such names.
    """
    _, root, below = path.rpartition('.lmdb/')
    name = below.replace('/', '_') if root else osp.basename(path)
    return name.encode(errors='surrogateescape').decode(errors='backslashreplace')
