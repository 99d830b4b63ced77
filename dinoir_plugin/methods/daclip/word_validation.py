"""Validation of DA-CLIP's first stage: does it name the degradations, and see the clean image's content?"""

from __future__ import annotations

from collections.abc import Sequence
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


class _Means(Measures):
    """Average figures that are no metrics of images."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({}, torch.device('cpu'))
        self.names = list(names)


class WordValidation(Validation):
    """Judge embeddings where :class:`Validation` judges images; reports, files and records are the same.

    ``accuracy``: 1 where the degradation is nearest to the word of the image's task. The words are the tasks of this
    set and of the training set; in a test, all ten of DA-CLIP where the tasks are called by them. ``content``: the
    cosine between the content and CLIP's feature of the clean image, of images that have one.
    """

    def __init__(self, model: DACLIPStage1Model, dataloader: Any, current_iter: int | str, save_img: bool) -> None:
        super().__init__(model, dataloader, current_iter, save_img)
        unknown = self.options.get('input', True) and self.name not in model.inputs
        self.measures, self.input_measures = _Means(FIGURES), _Means((CONTENT,) if unknown else ())
        self._net = getattr(model, 'net_g_ema', model.network)
        own = getattr(dataloader.dataset, 'tasks', ())
        # which ones a tested network was trained for is not known
        others = model.opt['datasets']['train'].get('tasks') or () if model.is_train else WORDS
        is_of_words = model.is_train or all(task in WORDS for task in own)
        self.words = list(dict.fromkeys([*(others if is_of_words else ()), *own]))
        features = Texts(model.network).features(self.words, f'datasets: tasks of {self.name}')
        self._directions = F.normalize(features, dim=-1)

    @torch.no_grad()
    def judged(self, batch: dict[str, Any], number: int, tb_logger: Any) -> Measured:
        """Encode and judge one image.

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
        values, of_input = {ACCURACY: float(self.words[int(nearest)] == task)}, {}
        if given.gt is not None:
            clean = self._net.encode_image(self._seen(given.gt), control=False)
            values[CONTENT] = _cosine(content, clean)
            if self.input_measures.names:
                of_input[CONTENT] = _cosine(self._net.encode_image(self._seen(given.lq), control=False), clean)
        return Measured(number, task, result_name(given.files[0]), values, {}, of_input)

    def _seen(self, image: Tensor) -> Tensor:
        return clip_image(image, self._net.visual.image_size)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one, other).mean())
