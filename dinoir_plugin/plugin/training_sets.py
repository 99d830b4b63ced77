"""Finding the plugin's own training sets among a run's data sets."""

from __future__ import annotations

from typing import Any


def our_training_sets(opt: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of every MixedDegradationDataset that is trained on, in the parsed options ``opt``."""
    return [
        dataset
        for dataset in opt['datasets'].values()
        if dataset.get('type') == 'MixedDegradationDataset' and dataset['phase'] == 'train'
    ]
