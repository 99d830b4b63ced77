"""Training a network that restores no images: the first stage of a method, judged by figures of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dinoir_plugin.core import random_state
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.models.options import RunOptions
from dinoir_plugin.models.per_task import PerTask
from dinoir_plugin.models.restoration_model import RestorationModel
from dinoir_plugin.models.validation import Validation


@dataclass(frozen=True, kw_only=True)
class OptionsWithoutImages(RunOptions):
    """Declare the options file of such a training; derived classes name the figures of its validation."""

    figures: ClassVar[Sequence[str]] = ()

    @classmethod
    def rules(cls, block: Mapping[str, Any], path: str, phase: str) -> Iterator[OptionsError]:
        """Ask for no metrics of images."""
        val = block.get('val')
        if isinstance(val, Mapping) and val.get('metrics'):
            problem = f'this stage restores nothing that could be measured; its figures are {", ".join(cls.figures)}'
            yield OptionsError('val.metrics', problem, 'Leave it out')


class ModelWithoutImages(RestorationModel):
    """Train and judge a network by the figures of its options, of which more is better.

    Attributes:
        judged_by: What a set is judged by; derived classes name it.
    """

    declares: type[OptionsWithoutImages] = OptionsWithoutImages
    judged_by: ClassVar[type[Validation]]

    def __init__(self, opt: dict[str, Any]) -> None:
        for problem in self.declares.rules(opt, '', ''):
            raise problem
        super().__init__(opt)

    def init_training_settings(self) -> None:
        """Make what every run has."""
        super().init_training_settings()
        # no image is restored whose error could be taken
        self.per_task = PerTask((), self.device)

    def nondist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Report the figures of each task and their average."""
        with random_state.kept():
            self.judged_by(self, dataloader, current_iter, save_img).run(tb_logger)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Begin a set's record of the best figures."""
        self.best_metric_results = getattr(self, 'best_metric_results', {})
        begun = {name: {'better': 'higher', 'val': -math.inf, 'iter': -1} for name in self.declares.figures}
        self.best_metric_results.setdefault(dataset_name, begun)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a training state, and from the figures that were the best."""
        super().resume_training(resume_state)
        self._read_best(resume_state['iter'])
