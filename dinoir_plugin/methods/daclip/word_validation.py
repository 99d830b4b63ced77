"""Validation of DA-CLIP's first stage: does it name the degradations, and see the clean image's content?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dinoir_plugin.methods.daclip.preprocessing import clip_image
from dinoir_plugin.methods.daclip.texts import Texts
from dinoir_plugin.methods.daclip.words import WORDS
from dinoir_plugin.metrics.measures import Measures
from dinoir_plugin.models.results import Measured
from dinoir_plugin.models.validation import Validation, result_name

if TYPE_CHECKING:
    from dinoir_plugin.methods.daclip.daclip_stage1_model import DACLIPStage1Model

ACCURACY, CONTENT = 'accuracy', 'content'
FIGURES = (ACCURACY, CONTENT)


class _Retrieval:
    """Judge contents of a task's images together, as the sets' metrics do."""

    def keep(self, content: Tensor, clean: Tensor) -> Tensor:
        """Keep the directions of two embeddings, (1, D) each, as (2, D)."""
        return F.normalize(torch.cat([content, clean]).float(), dim=-1).cpu()

    def of(self, kept: Sequence[Tensor]) -> float:
        """Give the share of contents that are nearest to what belongs to them."""
        contents, clean = torch.stack(list(kept), dim=1)
        return float(((contents @ clean.T).argmax(dim=1) == torch.arange(len(kept))).float().mean())


class _Figures(Measures):
    """Give figures that are no metrics of images."""

    def __init__(self) -> None:
        super().__init__({}, torch.device('cpu'))
        self.names = list(FIGURES)
        self.retrieval = _Retrieval()
        sets: dict[str, Any] = {CONTENT: self.retrieval}
        self._sets = sets


class WordValidation(Validation):
    """Judge embeddings where :class:`Validation` judges images; reports, files and records are the same.

    ``accuracy``: 1 where the degradation is nearest to the word of the image's task. The words are the tasks of this
    set and of the training set; in a test, all ten of DA-CLIP where the tasks are called by them. ``content``: the
    share of a task's images whose content is nearest to CLIP's feature of their own clean image.
    """

    def __init__(self, model: DACLIPStage1Model, dataloader: Any, current_iter: int | str, save_img: bool) -> None:
        super().__init__(model, dataloader, current_iter, save_img)
        self.measures: _Figures = _Figures()
        self._net = getattr(model, 'net_g_ema', model.network)
        own = getattr(dataloader.dataset, 'tasks', ())
        # which ones a tested network was trained for is not known
        others = model.opt['datasets']['train'].get('tasks') or () if model.is_train else WORDS
        is_of_words = model.is_train or all(task in WORDS for task in own)
        self.words = list(dict.fromkeys([*(others if is_of_words else ()), *own]))
        features = Texts(model.network).features(self.words, f'datasets: tasks of {self.name}')
        self._directions = F.normalize(features, dim=-1)

    @torch.no_grad()
    def judging(self, batch: dict[str, Any], number: int, tb_logger: Any) -> Callable[[], Measured]:
        """Encode and judge one image, and give what says the result.

        Raises:
            ValueError: It has no task.
        """
        self.model.feed_data(batch)
        given = self.model.batch
        if not given.tasks:
            raise ValueError(f'Validation {self.name}: expected a task for each image, whose word is asked for')
        task = given.tasks[0]
        content, degradation, _ = self._net(self._seen(given.lq))
        nearest = (F.normalize(degradation, dim=-1) @ self._directions.T).argmax(dim=-1)
        kept = {}
        if given.gt is not None:
            kept[CONTENT] = self.measures.retrieval.keep(
                content, self._net.encode_image(self._seen(given.gt), control=False)
            )
        values = {ACCURACY: float(self.words[int(nearest)] == task)}
        measured = Measured(number, task, result_name(given.files[0]), values, kept)
        return lambda: measured

    def _seen(self, image: Tensor) -> Tensor:
        return clip_image(image, self._net.visual.image_size)
