"""Networks whose images are to be surpassed, in the difficulty-adaptive loss of Perceive-IR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated

import torch
from torch import Tensor, nn

from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.constraints import Filled
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import option
from dinoir_plugin.core.outputs import as_outputs
from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.data.meta_info import Listed, read_meta_info
from dinoir_plugin.imaging.paths import written_path
from dinoir_plugin.models.batch import Batch
from dinoir_plugin.models.trained import trained_network

DEEPEST = 3  # folders and name that a list may give an image


@dataclass(frozen=True, kw_only=True)
class ProxyOptions:
    """Declare a network whose images are to be surpassed."""

    file: str = option('Its checkpoint, or a file as authors release it.', required=True)
    tasks: Annotated[Sequence[str], Filled()] | None = option('Tasks that it serves; left out: all.')
    images: str | None = option(
        'Folder with a list for each task (fold0 of `dinoir prepare folds`), which name the images that it serves, '
        'as it was not trained on them; left out: all.'
    )


class Proxy(nn.Module):
    """Restore with a network that does not learn, what it serves.

    Args:
        options: See :class:`ProxyOptions`.
        path: Of the options, for errors.

    Raises:
        OptionsError: Its file cannot be read, does not say how its network is built, or does not fit it; or there are
            no lists.
    """

    def __init__(self, options: ProxyOptions, path: str) -> None:
        super().__init__()
        file = f'{path}.file'
        try:
            self.network = trained_network(options.file, file, 'Take a checkpoint that was trained with this plugin')
        except FileError as error:
            raise OptionsError(file, f'expected a checkpoint, but {error}') from error
        self.tasks = options.tasks
        self.listed = None if options.images is None else _lists(options.images, f'{path}.images')

    def serves(self, task: str, file: str) -> bool:
        """Tell whether it serves an image, by its task and its degraded file."""
        if self.tasks is not None and task not in self.tasks:
            return False
        if self.listed is None:
            return True
        parts = PurePath(file).parts
        names = {'/'.join(parts[-count:]) for count in range(1, DEEPEST + 1)}
        return bool(names & self.listed.get(task, frozenset()))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Restore the samples that it serves.

        Returns:
            (B, 3, H, W), with other samples as they are, and which are served, (B,).
        """
        count = len(batch.lq)
        pairs = zip(batch.tasks or [''] * count, batch.files or [''] * count)
        served = [self.serves(task, file) for task, file in pairs]
        mask = to_device(torch.tensor(served), batch.lq.device)
        places = [place for place, serves in enumerate(served) if serves]
        if not places:
            return batch.lq, mask
        chosen = to_device(torch.tensor(places), batch.lq.device)
        restored = as_outputs(self.network(batch.lq.index_select(0, chosen))).image
        return batch.lq.index_copy(0, chosen, restored.to(batch.lq.dtype)), mask


def _lists(folder: str, path: str) -> Mapping[str, frozenset[str]]:
    """Read the names of the degraded images of each task."""
    files = sorted(Path(written_path(folder)).glob('*.txt'))
    if not files:
        raise OptionsError(path, f'expected a folder with a list for each task, but {folder} has none',
                           'Give e.g. fold0 of what dinoir prepare folds writes')  # fmt: skip
    return {
        file.stem: frozenset(name for entry in read_meta_info(str(file), path) for name in _degraded(entry))
        for file in files
    }


def _degraded(entry: Listed) -> list[str]:
    """Give what a line of a list may call the degraded image: of a pair the second name, else each reading."""
    pairs = [degraded for _, degraded in entry.readings if degraded is not None]
    return pairs or [clean for clean, _ in entry.readings]
