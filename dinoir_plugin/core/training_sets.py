"""Finding the training sets that deal from one row of samples."""

from __future__ import annotations

from typing import Any

from dinoir_plugin.core.construct import registered_class


def dealing_training_sets(opt: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the options of all training sets that compose their own batches: those with a method ``batch_sampler``.

    They take a ``seed``, which has to be the same in all ranks, and ``done_iters``, where a resumed run goes on.

    Args:
        opt: The parsed options.
    """
    from basicsr.utils.registry import DATASET_REGISTRY

    training = [block for block in opt['datasets'].values() if block['phase'] == 'train']
    kinds = [registered_class(DATASET_REGISTRY, block.get('type')) for block in training]
    return [block for block, kind in zip(training, kinds) if hasattr(kind, 'batch_sampler')]
