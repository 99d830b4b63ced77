"""What is asked in every training step: are its numbers finite, and has the run been told to stop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType

import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from dinoir_plugin.core import ranks
from dinoir_plugin.core.console import INTERRUPTED
from dinoir_plugin.core.transfer import OnTheWay

# What sysexits.h calls a temporary failure: the same command with --auto_resume goes on.
REQUEUE = 75
ON_NONFINITE = ('stop', 'skip')
SKIPPED_IN_A_ROW = 10


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which iteration and why."""


class StopRequest:
    """Note SIGTERM, as Slurm and machines that can be taken away send it, and Ctrl-C, instead of obeying at once.

    Attributes:
        by: The signal that came to this process; None as long as none did. A second one of its kind ends the process.
        keyboard: Whether Ctrl-C is noted: in runs of the trainer, not where a model is made by hand, as in a notebook.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self.keyboard = False

    @property
    def came(self) -> bool:
        """Say whether this process has been told to stop."""
        return self.by is not None

    @property
    def words(self) -> str:
        """Name what told it; another rank was told where this one was not."""
        return 'Ctrl-C' if self.by is signal.SIGINT else 'SIGTERM'

    @property
    def status(self) -> int:
        """Give the exit status: of Ctrl-C the shell's own, else one that a job script may requeue."""
        return INTERRUPTED if self.by is signal.SIGINT else REQUEUE

    def listen(self) -> None:
        """Note the signals from now on; Python takes signals in a process's main thread only."""
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGTERM, self._note)
        # a shell starts what runs in the background with Ctrl-C ignored, and that stays so
        if self.keyboard and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.by = signal.Signals(number)
        if self.by is signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            return
        signal.signal(number, signal.default_int_handler)
        get_root_logger().warning('Ctrl-C: ends this iteration and saves it; once more stops at once, without saving.')


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


def numbers_of(values: Mapping[str, Tensor], told_to_stop: bool) -> Tensor:
    """Collect what the host has to know of a step, without waiting for the device.

    All ranks call this together.

    Args:
        values: Name to scalar, of this rank.
        told_to_stop: Whether this rank has been.

    Returns:
        (2 + values,), float32, on the device: 1 where a number of any rank is not finite, else 0; the same for being
        told to stop; and this rank's numbers.
    """
    own = torch.stack([value.detach().float() for value in values.values()])
    flags = own.new_zeros(2)
    flags[0] = own.isfinite().all().logical_not()
    flags[1].fill_(told_to_stop)
    return torch.cat([ranks.largest(flags), own])


class StepReport:
    """Carry a step's numbers to the host, which reads them when it needs them.

    Args:
        numbers: As :func:`numbers_of` gives them.
        names: Of the values behind the flags.
        tasks: Task of each sample, where the loader gives them.
        files: File of each sample, where the loader gives them.
        iteration: The step's.
    """

    def __init__(
        self, numbers: Tensor, names: Iterable[str], tasks: Sequence[str], files: Sequence[str], iteration: int
    ) -> None:
        self.iteration = iteration
        self._names, self._tasks, self._files = list(names), tasks, files
        self._numbers = OnTheWay({'numbers': numbers})

    def read(self) -> tuple[bool, bool, str]:
        """Tell whether a number of any rank is not finite, whether a rank was told to stop, and the step in words."""
        bad, stops, *values = self._numbers.arrived()['numbers'].tolist()
        if not bad:
            return False, bool(stops), ''
        if all(math.isfinite(value) for value in values):
            return True, bool(stops), 'another rank met a number that is not finite (see its message)'
        words = ', '.join(f'{name} is {value:g}' for name, value in zip(self._names, values))
        samples = [f'{task}: {file}' for task, file in zip(self._tasks or [''] * len(self._files), self._files)]
        batch = '; '.join(samples) or 'without names'
        return True, bool(stops), f'{words}; the batch of rank {ranks.rank()}: {batch}'
