"""What figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Tell processor, threads and versions."""
    model = platform.processor() or platform.machine()
    if Path('/proc/cpuinfo').is_file():
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
        model = names[0] if names else model
    return {
        'cpu': model,
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'capability': torch.backends.cpu.get_cpu_capability(),
        'python': platform.python_version(),
        'torch': torch.__version__,
    }
