"""Which process speaks before torch knows about ranks."""

from __future__ import annotations

import os


def is_first_rank() -> bool:
    """Whether this process is the one that speaks; known from the launcher's environment before torch knows it."""
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'
