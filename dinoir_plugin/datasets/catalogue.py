"""The data sets that can be prepared, by name."""

from __future__ import annotations

from dinoir_plugin.datasets.pairs import PAIRS
from dinoir_plugin.datasets.photographs import PHOTOGRAPHS

CATALOGUE = {dataset.name: dataset for dataset in (*PHOTOGRAPHS, *PAIRS)}
