"""``build_dataloader`` knows only a sampler and a fixed batch size.

A training set that composes its own batches (``MixedDegradationDataset``) offers
``batch_sampler(sampler, batch_multiplier)``; ours builds its loader from that, and otherwise as the host would.
All other datasets go through the host's function. The number of iterations in an epoch is noted in the set's
options as ``epoch_iters``, and as ``done_samples`` how many samples a resumed run has behind it.
"""

from __future__ import annotations

import functools
from typing import Any

from dinoir_plugin.compat._replace import Function


def loader_arguments(
    dataset: Any, dataset_opt: dict[str, Any], num_gpu: int, dist: bool, sampler: Any, seed: int | None
) -> dict[str, Any]:
    """Give the arguments of DataLoader: the host's, with a batch sampler for batch size, sampler and drop_last."""
    import torch
    from basicsr import data
    from basicsr.utils.dist_util import get_dist_info

    # here: that folder's modules register themselves, which has to wait until BasicSR is imported
    from dinoir_plugin.data.workers import start_worker

    # One process feeds all GPUs of DataParallel; the host multiplies batch size and workers for it.
    multiplier = 1 if dist else max(num_gpu, 1)
    num_workers = dataset_opt['num_worker_per_gpu'] * multiplier
    init = None
    if seed is not None:
        init = functools.partial(data.worker_init_fn, num_workers=num_workers, rank=get_dist_info()[0], seed=seed)
    # Its own generator: the seed that a loader draws for its workers at each epoch comes from the run's otherwise, and
    # a resumed run begins more epochs than one that was never stopped.
    generator = torch.Generator().manual_seed(seed or 0)
    return {
        'dataset': dataset,
        'generator': generator,
        'batch_sampler': dataset.batch_sampler(sampler, multiplier),
        'num_workers': num_workers,
        'worker_init_fn': functools.partial(start_worker, seed=init),
        'pin_memory': dataset_opt.get('pin_memory', False),
        'persistent_workers': dataset_opt.get('persistent_workers', False),
    }


def replacement() -> tuple[Function, Function]:
    """Give the host's ``build_dataloader`` and ours, which wraps it."""
    from basicsr import data
    from basicsr.data.prefetch_dataloader import PrefetchDataLoader
    from basicsr.utils import get_root_logger
    from torch.utils.data import DataLoader

    host = data.build_dataloader

    @functools.wraps(host)
    def build_dataloader(
        dataset: Any,
        dataset_opt: dict[str, Any],
        num_gpu: int = 1,
        dist: bool = False,
        sampler: Any = None,
        seed: int | None = None,
    ) -> Any:
        composes = sampler is not None and callable(getattr(dataset, 'batch_sampler', None))
        if dataset_opt['phase'] != 'train' or not composes:
            loader = host(dataset, dataset_opt, num_gpu=num_gpu, dist=dist, sampler=sampler, seed=seed)
            if dataset_opt['phase'] == 'train':
                dataset_opt['epoch_iters'] = len(loader)
            return loader
        if hasattr(dataset, 'summary'):
            get_root_logger().info('Tasks\n' + dataset.summary())
        arguments = loader_arguments(dataset, dataset_opt, num_gpu, dist, sampler, seed)
        dataset_opt['epoch_iters'] = len(arguments['batch_sampler'])
        dataset_opt['done_samples'] = getattr(arguments['batch_sampler'], 'done_samples', None)
        if dataset_opt.get('prefetch_mode') == 'cpu':
            return PrefetchDataLoader(num_prefetch_queue=dataset_opt.get('num_prefetch_queue') or 1, **arguments)
        return DataLoader(**arguments)

    return host, build_dataloader
