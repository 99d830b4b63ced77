"""``basicsr/data/degradations.py`` imports from a torchvision module that is gone since torchvision 0.17.

Without the mend ``import basicsr`` fails for BasicSR 1.4.2 from PyPI. The mend is a finder at the very end of
``sys.meta_path``: it is asked only once nobody else has found ``torchvision.transforms.functional_tensor``, imports
nothing until then, and offers only the one function that BasicSR takes from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

GONE = 'torchvision.transforms.functional_tensor'


class _FunctionalTensor(MetaPathFinder, Loader):
    """Find and load the stand-in module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, origin=__file__) if fullname == GONE else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an ordinary module

    def exec_module(self, module: ModuleType) -> None:
        from torchvision.transforms.functional import rgb_to_grayscale

        module.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]


def mend() -> bool:
    """Offer the stand-in; return False where it stands there already."""
    if any(isinstance(finder, _FunctionalTensor) for finder in sys.meta_path):
        return False
    sys.meta_path.append(_FunctionalTensor())
    return True
