"""Count what a training step asks of the device: operations dispatched, and reads by the host."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

ALLOCATIONS = ('empty', 'empty_like', 'new_empty', 'empty_strided', 'new_empty_strided', 'detach', 'alias')
# of these no kernel comes: views that are not marked so, and what is done for the profiler or for types alone
NOTHING = ('_unsafe_view', '_record_function_enter_new', '_record_function_exit', 'promote_types')
HOST_READS = ('_local_scalar_dense', 'item', 'nonzero', 'equal', 'is_nonzero')


class Dispatched(TorchDispatchMode):
    """Count operations that compute, while open: views and allocations are left out.

    Attributes:
        counts: Name of an operation (``mm``, ``_to_copy``) to how often it was dispatched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and run the operation."""
        name = func.overloadpacket.__name__
        if not func.is_view and name not in ALLOCATIONS + NOTHING:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """Give how many there were."""
        return sum(self.counts.values())

    @property
    def host_reads(self) -> dict[str, int]:
        """Give those for which the host waits for the device."""
        return {name: self.counts[name] for name in HOST_READS if self.counts[name]}
