"""Validation of Perceive-IR's first stage: do the prompts tell three qualities of an image apart?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from dinoir_plugin.data.task import AVERAGE
from dinoir_plugin.methods.perceive_ir.prompt_report import FIGURES, PASSED, acceptance, image_figures
from dinoir_plugin.methods.perceive_ir.semantics import SIDE
from dinoir_plugin.metrics.measures import Measures
from dinoir_plugin.models.results import Figures, Measured
from dinoir_plugin.models.validation import Validation, result_name

if TYPE_CHECKING:
    from dinoir_plugin.methods.perceive_ir.prompts_model import PerceiveIRPromptsModel

MEDIUM = 'medium'


class _Figures(Measures):
    """Give figures that are no metrics of images."""

    def __init__(self) -> None:
        super().__init__({}, torch.device('cpu'))
        self.names = list(FIGURES)


class PromptValidation(Validation):
    """Judge judgements of quality where :class:`Validation` judges images; reports, files and records are the same.

    Of each image the degraded, the half-restored and the clean one are judged in five crops of the training's size,
    corners and centre, whose logits are averaged; see
    :func:`~dinoir_plugin.methods.perceive_ir.prompt_report.image_figures`. What the figures say of the prompts goes to
    the model's ``judged``.
    """

    model: PerceiveIRPromptsModel

    def __init__(
        self, model: PerceiveIRPromptsModel, dataloader: Any, current_iter: int | str, save_img: bool
    ) -> None:
        super().__init__(model, dataloader, current_iter, save_img)
        self.measures = _Figures()
        self._net = model.network
        self._side = (model.opt['datasets'].get('train') or {}).get('gt_size') or SIDE

    @torch.no_grad()
    def judging(self, batch: dict[str, Any], number: int, tb_logger: Any) -> Callable[[], Measured]:
        """Judge one image in its three qualities, and give what says the result.

        Raises:
            ValueError: It lacks one of them.
        """
        self.model.feed_data(batch)
        given = self.model.batch
        medium = given.others.get(MEDIUM)
        if given.gt is None or medium is None:
            raise ValueError(f'Validation {self.name}: expected images in three qualities: give dataroot_gt and '
                             'dataroot_medium')  # fmt: skip
        tiers = [self._net.judge(five_crops(image, self._side)) for image in (given.lq, medium, given.gt)]
        logits = torch.stack(tiers).mean(dim=1)
        task = given.tasks[0] if given.tasks else ''
        measured = Measured(number, task, result_name(given.files[0]), image_figures(logits), {})
        return lambda: measured

    def _figures(self, images: list[Measured]) -> Figures:
        """Give the figures of each task; the model learns what they say of the prompts."""
        figures = super()._figures(images)
        report = acceptance({task: row for task, row in figures.means.items() if task != AVERAGE})
        words = 'accepted' if report[PASSED] else f'not accepted: {"; ".join(report["problems"])}'
        get_root_logger().info(f'Validation {self.name}: the prompts are {words}')
        if self.model.is_train:
            self.model.write_prompts(int(self.current_iter), report)
        return figures


def five_crops(image: Tensor, side: int) -> Tensor:
    """Cut squares from the corners and the centre.

    Args:
        image: (1, C, H, W).
        side: In pixels; no more than the image's own sides.

    Returns:
        (5, C, side, side).
    """
    height, width = image.shape[-2:]
    side = min(side, height, width)
    down, across = height - side, width - side
    places = ((0, 0), (0, across), (down, 0), (down, across), (down // 2, across // 2))
    return torch.cat([image[..., top : top + side, left : left + side] for top, left in places])
