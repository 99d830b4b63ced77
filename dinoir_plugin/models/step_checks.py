"""What is asked in every training step: are its numbers finite, and has the run been told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType

import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from dinoir_plugin.core import ranks

# What sysexits.h calls a temporary failure: the same command with --auto_resume goes on.
REQUEUE = 75
ON_NONFINITE = ('stop', 'skip')
SKIPPED_IN_A_ROW = 10


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which iteration and why."""


class StopRequest:
    """Note SIGTERM, as Slurm and machines that can be taken away send it, instead of obeying at once.

    Attributes:
        came: Whether it came to this process. A second one ends the process.
    """

    def __init__(self) -> None:
        self.came = False

    def listen(self) -> None:
        """Note the signal from now on; Python takes signals in a process's main thread only."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Finite:
    """Keep losses and gradients that are not finite away from the weights.

    Args:
        on_nonfinite: ``stop`` raises; ``skip`` leaves the step out, with a line in the log, and raises once
            SKIPPED_IN_A_ROW steps in a row, or every one so far, have been left out.
    """

    def __init__(self, on_nonfinite: str) -> None:
        self.skips = on_nonfinite == 'skip'
        self.skipped = 0
        self.in_a_row = 0

    def allows(self, bad: bool, iteration: int, what: str) -> bool:
        """Tell whether the step is to be made.

        Args:
            bad: Whether a number of any rank is not finite.
            iteration: The step's.
            what: This rank's numbers and samples in words.

        Raises:
            TrainingError: It is not finite, and steps are not skipped, or too many were.
        """
        if not bad:
            self.in_a_row = 0
            return True
        self.skipped += 1
        self.in_a_row += 1
        message = f'iteration {iteration}: {what}'
        if not self.skips:
            raise TrainingError(f'{message}. The weights are as they were before this step, and the checkpoints whole. '
                                'Look at these images, lower the learning rate, or set train.on_nonfinite: skip.')
        if self.in_a_row >= SKIPPED_IN_A_ROW:
            raise TrainingError(f'{message}. {self.in_a_row} steps in a row were not finite: skipping does not help.')
        get_root_logger().warning(f'Step skipped ({self.skipped} so far), {message}')
        return False


def describe(values: dict[str, Tensor], tasks: Sequence[str], files: Sequence[str]) -> tuple[bool, str]:
    """Tell whether one of this rank's numbers is not finite, and what they and the batch are.

    Args:
        values: Name to scalar.
        tasks: Task of each sample, where the loader gives them.
        files: File of each sample, where the loader gives them.
    """
    numbers = torch.stack([value.detach().float() for value in values.values()])
    if bool(torch.isfinite(numbers).all()):
        return False, 'another rank met a number that is not finite (see its message)'
    words = ', '.join(f'{name} is {number:g}' for name, number in zip(values, numbers.tolist()))
    samples = [f'{task}: {file}' for task, file in zip(tasks or [''] * len(files), files)]
    return True, f'{words}; the batch of rank {ranks.rank()}: {"; ".join(samples) or "without names"}'
