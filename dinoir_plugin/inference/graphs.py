"""Networks that restore as CUDA graphs: where the same sizes come again, kernels are launched together."""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from dinoir_plugin.nn.cuda_graph import Recording

# calls of one size that are made as usual first: images of many sizes never pay for a recording
SEEN_BEFORE = 2
# recordings that are kept; the one that was not used for the longest time is dropped
MOST = 8
# of a larger image kernels take longer than launching them, and what a recording keeps would be a loss
MOST_PIXELS = 1 << 20
# sizes of which is known how often they came
MOST_COUNTED = 1024

# what a call may hold beside tensors
PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device, nn.Module)

# from a function and what it takes to what it gives
Calls = Callable[..., Any]


def directly(function: Callable[..., Any], *inputs: Any, **others: Any) -> Any:
    """Call a function as usual."""
    return function(*inputs, **others)


class Graphs:
    """Call what a network consists of, as CUDA graphs where sizes come again.

    A call is the same as an earlier one where tensors have the same shapes, types and layouts and everything else is
    equal. Tensors are copied to where the recorded kernels read them, so a guide that was found in the whole image, and
    where a tile lies in it, change freely.

    Args:
        option: ``auto``, or ``off``: everything is called as usual.
        say: Told in a line why something is called as usual although graphs are on, once for each reason.
    """

    kind: ClassVar[str] = 'cuda'
    recording: ClassVar[Callable[..., Recording[Any]]] = Recording

    def __init__(self, option: object, say: Callable[[str], object]) -> None:
        # YAML reads a bare `off` as false
        self._wanted = option not in ('off', False)
        self._say = say
        self._said: set[str] = set()
        self._refused: set[Callable[..., Any]] = set()
        self.forget()

    def forget(self) -> None:
        """Drop what is recorded, and its memory."""
        self._recordings: OrderedDict[Any, Recording[Any]] = OrderedDict()
        self._seen: Counter[Any] = Counter()
        self._dropped: Counter[Any] = Counter()
        self._weights: tuple[int, ...] = ()
        self._pool: Any = None

    def of(self, network: nn.Module, device: torch.device) -> Calls:
        """Give what calls the parts of a network for an image: itself, or :func:`directly` where it has to be.

        Args:
            network: Whose weights may have been changed since, in their place.
            device: The network's.
        """
        if not self._wanted or device.type != self.kind:
            return directly
        reason = reason_against(network)
        if reason:
            self._say_once(f'Images are not restored by CUDA graphs: {reason}.')
            return directly
        weights = tuple(value.data_ptr() for value in itertools.chain(network.parameters(), network.buffers()))
        if weights != self._weights:
            self.forget()
            self._weights = weights
        return self._call

    def _call(self, function: Callable[..., Any], *inputs: Any, **others: Any) -> Any:
        leaves, form = tree_flatten((inputs, others))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if function in self._refused or not self._suit(tensors):
            return self._as_usual(function, inputs, others)
        key = (function, repr(form), tuple(map(_described, leaves)), *_autocast(self.kind))
        if key not in self._recordings:
            if not self._is_due(key):
                return self._as_usual(function, inputs, others)

            def compute(kept: Sequence[Tensor]) -> Any:
                there = iter(kept)
                filled = [next(there) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
                given, named = tree_unflatten(filled, form)
                enabled, dtype = _autocast(self.kind)
                # weights that autocast keeps converted are dropped while the graph still reads them
                with torch.no_grad(), torch.autocast(self.kind, dtype, enabled, cache_enabled=False):
                    return function(*given, **named)

            try:
                self._record(key, compute, tensors)
            # whatever cannot be recorded raises this
            except RuntimeError as error:
                self._refused.add(function)
                name = getattr(function, '__qualname__', repr(function))
                why = str(error).partition('\n')[0]
                self._say_once(f'{name} cannot be a CUDA graph and is called as usual: {why}')
                return self._as_usual(function, inputs, others)
        self._recordings.move_to_end(key)
        return tree_map_only(Tensor, torch.clone, self._recordings[key].repeat(tensors))

    def _suit(self, tensors: Sequence[Tensor]) -> bool:
        """Tell whether all tensors are on the device, and the first one, the image, is not too large."""
        if not tensors or any(value.device.type != self.kind for value in tensors):
            return False
        batch, _, height, width = tensors[0].shape if tensors[0].ndim == 4 else (0, 0, 0, 0)
        return 0 < batch * height * width <= MOST_PIXELS

    def _is_due(self, key: Any) -> bool:
        """Count a call; some come before the one that is recorded, twice as many each time after it was dropped."""
        if len(self._seen) > MOST_COUNTED:
            self._seen.clear()
        self._seen[key] += 1
        return self._seen[key] > SEEN_BEFORE << self._dropped[key]

    def _record(self, key: Any, compute: Callable[[list[Tensor]], Any], tensors: Sequence[Tensor]) -> None:
        if not self._recordings:
            self._pool = torch.cuda.graph_pool_handle() if self.kind == 'cuda' else None
        self._recordings[key] = self.recording(compute, tensors, self._pool)
        del self._seen[key]
        if len(self._recordings) > MOST:
            oldest, _ = self._recordings.popitem(last=False)
            self._dropped[oldest] += 1

    def _as_usual(self, function: Callable[..., Any], inputs: Sequence[Any], others: dict[str, Any]) -> Any:
        try:
            return function(*inputs, **others)
        except torch.cuda.OutOfMemoryError:
            if not self._recordings:
                raise
        self.forget()
        self._wanted = False
        self._say_once('Images are not restored by CUDA graphs from here on: the memory is needed otherwise.')
        torch.cuda.empty_cache()
        return function(*inputs, **others)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def reason_against(network: nn.Module) -> str:
    """Say why calls of a network cannot be recorded now; empty where they can."""
    if torch.is_grad_enabled() or network.training:
        return 'the network learns'
    if torch.is_anomaly_enabled():
        return 'torch looks for anomalies'
    if torch._C._len_torch_dispatch_stack():
        return 'its operations are looked at one by one'
    if hooks_of_all._global_forward_hooks or hooks_of_all._global_forward_pre_hooks:
        return 'there are hooks on all modules'
    for name, module in network.named_modules():
        for hook in itertools.chain(module._forward_hooks.values(), module._forward_pre_hooks.values()):
            if not getattr(hook, 'capturable', False):
                return f"'{name or type(network).__name__}' has a hook, which would not be called"
    return ''


def _described(leaf: Any) -> Any:
    """Give what tells a leaf of a call from those of other calls."""
    if isinstance(leaf, Tensor):
        # a copy of it, which is what the kernels read, lies dense in memory
        return leaf.shape, leaf.dtype, leaf.device, torch.empty_like(leaf, device='meta').stride()
    # objects that may hold tensors are like no other
    return (type(leaf), leaf) if isinstance(leaf, PLAIN) else object()


def _autocast(kind: str) -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
