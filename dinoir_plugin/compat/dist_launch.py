"""``--launcher pytorch`` and ``--launcher slurm`` divide by the number of GPUs and ask for NCCL.

Without CUDA that is a division by zero. The mend is for machines without CUDA only: the gloo backend and no device.
Where CUDA is there, the host's functions run as they are. CUDA is asked about when a run starts, not at import:
asking initialises the driver, which a process that forks later must not have done.

The host never destroys the process group. Gloo's threads drop Python objects of finished operations; where one waits
for the interpreter's lock when the interpreter ends, the process is aborted, and the launcher then kills the first rank
while it saves the last checkpoint. So the group is destroyed at exit, and its threads are given a moment.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import time
from typing import Any

from dinoir_plugin.compat._replace import is_ours, replace

THREADS_END = 0.1  # seconds


def _slurm_environment(port: int | None) -> None:
    """Set what torch's ``env://`` start reads, from what Slurm sets."""
    nodes = subprocess.run(
        ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']], check=True, capture_output=True, text=True
    )
    os.environ['MASTER_ADDR'] = nodes.stdout.split()[0]
    os.environ['MASTER_PORT'] = str(port if port is not None else os.environ.get('MASTER_PORT', 29500))
    os.environ['WORLD_SIZE'] = os.environ['SLURM_NTASKS']
    os.environ['RANK'] = os.environ['SLURM_PROCID']
    os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')


def _destroy_group() -> None:
    """Destroy the process group, unless an error ends this rank: others may wait in it, and the launcher ends them."""
    import torch

    if torch.distributed.is_initialized() and not hasattr(sys, 'last_value'):
        torch.distributed.destroy_process_group()
        # without the lock, for which its threads wait
        time.sleep(THREADS_END)


def mend() -> bool:
    """Wrap the two functions that start the process group."""
    import torch
    from basicsr.utils import dist_util

    host_pytorch, host_slurm = dist_util._init_dist_pytorch, dist_util._init_dist_slurm
    if is_ours(host_pytorch):
        return False

    @functools.wraps(host_pytorch)
    def init_pytorch(backend: str, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            host_pytorch(backend, **kwargs)
        else:
            torch.distributed.init_process_group(backend='gloo', **kwargs)

    @functools.wraps(host_slurm)
    def init_slurm(backend: str, port: int | None = None) -> None:
        if torch.cuda.is_available():
            host_slurm(backend, port)
        else:
            _slurm_environment(port)
            torch.distributed.init_process_group(backend='gloo')

    atexit.register(_destroy_group)
    replace(host_pytorch, init_pytorch)
    replace(host_slurm, init_slurm)
    return True
