"""Count the operations that a training step dispatches, and for what the host waits in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ALLOCATIONS = ('empty', 'empty_like', 'new_empty', 'empty_strided', 'new_empty_strided', 'detach', 'alias')
# of these no kernel comes: views that are not marked so, and what is done for the profiler or for types alone
NOTHING = ('_unsafe_view', '_record_function_enter_new', '_record_function_exit', 'promote_types')
# for each the host waits: for a number, for how many there are (an index by a mask too), or, of a tensor that is made
# of numbers of the host, for the copy
MASKED = 'index by a mask'
WAITED_FOR = ('_local_scalar_dense', 'item', 'nonzero', 'equal', 'is_nonzero', 'lift_fresh', MASKED)


class Dispatched(TorchDispatchMode):
    """Count operations that compute, while open: views and allocations are left out.

    Attributes:
        counts: Name of an operation (``mm``, ``_to_copy``) to how often it was dispatched.
        waits: The same of those for which the host waits on a GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and run the operation."""
        name = func.overloadpacket.__name__
        if not func.is_view and name not in ALLOCATIONS + NOTHING:
            self.counts[name] += 1
        told = MASKED if name.startswith('index') and _has_mask(args) else name
        if told in WAITED_FOR:
            self.waits[told] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """Give how many there were."""
        return sum(self.counts.values())


def _has_mask(args: Any) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)
