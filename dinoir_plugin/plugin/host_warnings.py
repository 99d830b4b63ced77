"""The host warns at each validation on several sets that only SRModel supports them; so does every model of ours."""

from __future__ import annotations

import logging

NAME = 'basicsr'  # of the host's logger
FALSE = 'Multiple validation datasets are *only* supported by SRModel.'


def _is_true(record: logging.LogRecord) -> bool:
    return record.getMessage() != FALSE


def hush(ours: bool) -> None:
    """Keep the line out of the log of the plugin's runs, and let it into that of others."""
    logger = logging.getLogger(NAME)
    logger.removeFilter(_is_true)
    if ours:
        logger.addFilter(_is_true)
