"""A training of an options file of the project, for scripts that make several of them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.core.console import note
from dinoir_plugin.core.options_files import options_file
from dinoir_plugin.experiments.programs import Progress, start
from dinoir_plugin.experiments.runs import TRAINED, checkpoint_of
from dinoir_plugin.experiments.variants import read_yaml


class Stage(NamedTuple):
    """Hold one of the trainings.

    Attributes:
        title: What it learns.
        options: Name of its options file, or a path of one that was made.
    """

    title: str
    options: str | Path

    @property
    def file(self) -> Path:
        """Give the options file."""
        return self.options if isinstance(self.options, Path) else options_file(self.options)

    @property
    def written(self) -> dict[str, Any]:
        """Give what stands in the options file."""
        content: dict[str, Any] = read_yaml(self.file)
        return content

    @property
    def folder(self) -> Path:
        """Name the run's folder."""
        return Path('experiments') / str(self.written['name'])

    @property
    def checkpoint(self) -> Path:
        """Name the file of the trained network."""
        return checkpoint_of(str(self.written['name']))

    def train(self, words: Sequence[str] = ()) -> None:
        """Train to the end, from where an earlier call was broken off.

        Args:
            words: More of the command line.

        Raises:
            RunError: It was stopped or failed.
        """
        if self.checkpoint.is_file():
            note(f'{self.title}: trained already, {self.folder}')
            return
        written = self.written
        log = Path('experiments') / f'{written["name"]}.log'
        note(f'{self.title}: training; output: {log}')
        words = ['-m', 'basicsr.train', '-opt', str(self.file), '--auto_resume', *words]
        start(words, log, self.title, Progress(TRAINED, int(written['train']['total_iter']), 'it'))
