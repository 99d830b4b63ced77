"""Which process speaks before torch knows about ranks."""

from __future__ import annotations

import os


def is_first_rank() -> bool:
    """Tell whether this process is the one that speaks, from the launcher's environment: torch knows it later."""
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'
