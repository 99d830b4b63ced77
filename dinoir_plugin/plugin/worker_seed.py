"""``worker_init_fn`` seeds a loader's workers with the same numbers at every epoch.

Workers are started anew at each epoch, so every epoch draws the same crops and the same noise. torch draws a new base
seed at each of these starts, from the generator that ``manual_seed`` seeds; the mend mixes it in. Runs with the same
``manual_seed`` still draw the same numbers.
"""

from __future__ import annotations

import random

import numpy as np

from dinoir_plugin.compat._replace import Function


def worker_init_fn(worker_id: int, num_workers: int, rank: int, seed: int) -> None:
    """Seed a worker's numpy and random; at the module's top level, so that spawned workers can unpickle it."""
    import torch

    # In a worker, torch's initial seed is the epoch's base seed plus the worker's number.
    host_seed = num_workers * rank + worker_id + seed
    entropy = np.random.SeedSequence([host_seed, torch.initial_seed()])
    np.random.seed(entropy.generate_state(8))
    random.seed(int.from_bytes(entropy.generate_state(8, np.uint64).tobytes(), 'little'))


def replacement() -> tuple[Function, Function]:
    """Give the host's function and ours, or the host's own where that looks at torch's seed itself."""
    from basicsr import data

    host = data.worker_init_fn
    return host, host if 'initial_seed' in host.__code__.co_names else worker_init_fn
