"""TensorBoard gets the learning rates, which the host's ``MessageLogger`` writes to the log alone."""

from __future__ import annotations

from typing import Any

from basicsr.utils.logger import MessageLogger

from dinoir_plugin.compat._replace import Function


class RateLogger(MessageLogger):
    """Log as the host does, and the learning rate as ``lr``; where there are several, as ``lr/0``, ``lr/1``."""

    def __call__(self, log_vars: dict[str, Any]) -> None:
        """Write one line; ``log_vars`` is the host's."""
        rates = log_vars['lrs']
        if self.tb_logger:
            for number, rate in enumerate(rates):
                self.tb_logger.add_scalar('lr' if len(rates) == 1 else f'lr/{number}', rate, log_vars['iter'])
        super().__call__(log_vars)


def replacement() -> tuple[Function, Function]:
    """Give the host's class and ours."""
    return MessageLogger, RateLogger
