"""A GPU that is pretended: tensors that say they are on it, with numbers that the CPU computes.

What is right on it: on which device a tensor is (others may not meet it), for what the host waits, and what a CUDA
graph repeats (the same operations on the same memory, with all that the host knew when it was recorded). Kernels,
their types and speed are the CPU's. Needs the preloaded ``cudart.c``, as autograd asks for streams.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device('cuda', 0)
# for each of these the host waits
ASKS = ('_local_scalar_dense', 'nonzero', 'equal', 'is_nonzero')


class Operation(NamedTuple):
    """Hold what was done, on the tensors of the CPU."""

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    named: dict[str, Any]
    result: Any


class State:
    """Hold what is recorded now, and whether waiting is an error."""

    tape: list[Operation] | None = None
    before: dict[int, tuple[Tensor, Tensor]]
    waiting = 'default'


class OnGPU(Tensor):
    """Say to be on the GPU; ``numbers`` lie on the CPU."""

    @staticmethod
    def __new__(cls, numbers: Tensor) -> 'OnGPU':
        return Tensor._make_wrapper_subclass(
            cls, numbers.size(), strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype,
            device=GPU)  # fmt: skip

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def __repr__(self) -> str:
        return f'OnGPU({self.numbers})'

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy: Tensor = OnGPU(self.numbers.clone())
            memo[id(self)] = torch.nn.Parameter(copy, self.requires_grad) if is_parameter(self) else copy
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.numbers.detach().__reduce_ex__(protocol)

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def untyped_storage(self) -> Any:
        return self.numbers.untyped_storage()

    def numpy(self) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def tolist(self) -> Any:
        waits('tolist')
        return self.numbers.tolist()

    def record_stream(self, stream: Any) -> None:
        pass

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """Catch what makes tensors on the GPU of none."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get('device')
        goes_there = device is not None and torch.device(device).type == 'cuda'
        if goes_there or any(issubclass(kind, OnGPU) for kind in types):
            return computed(function, args, kwargs)
        return function(*args, **kwargs)


def is_parameter(value: Tensor) -> bool:
    """Tell whether a tensor is a parameter."""
    return isinstance(value, torch.nn.Parameter)


def waits(what: str) -> None:
    """Note that the host waits for the GPU.

    Raises:
        RuntimeError: While a graph is recorded, or where waiting is an error.
    """
    if State.tape is not None:
        raise RuntimeError(f'CUDA error: operation not permitted when stream is capturing ({what})')
    if State.waiting == 'error':
        raise RuntimeError(f'called a synchronizing CUDA operation ({what})')


def computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the CPU; its results are on the GPU where its inputs are, or where it was told to."""
    name = function.overloadpacket.__name__
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [value for value in tensors if isinstance(value, OnGPU)]
    goes_there = bool(there)
    if kwargs.get('device') is not None:
        goes_there = torch.device(kwargs['device']).type == 'cuda'
        kwargs = {**kwargs, 'device': torch.device('cpu'), **({'pin_memory': False} if 'pin_memory' in kwargs else {})}
    if name == 'copy_':
        goes_there = isinstance(args[0], OnGPU)
    check(name, args, kwargs, goes_there)
    inputs, named = tree_map_only(OnGPU, lambda value: value.numbers, (args, kwargs))
    if State.tape is not None:
        keep_before(function, inputs, named)
    function, inputs, named = on_cpu(name, function, inputs, named)
    result = function(*inputs, **named)
    if not goes_there:
        return result
    if State.tape is not None:
        State.tape.append(Operation(function, inputs, named, result))
    known = {id(value.numbers): value for value in there}
    return tree_map_only(Tensor, lambda value: known[id(value)] if id(value) in known else OnGPU(value), result)


def check(name: str, args: Any, kwargs: dict[str, Any], goes_there: bool) -> None:
    """Note where the host waits, and refuse what meets on two devices.

    Raises:
        RuntimeError: It does, or it waits where it may not.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [value for value in tensors if isinstance(value, OnGPU)]
    # numbers without dimensions may be on the CPU
    elsewhere = [value for value in tensors if value.dim() and not isinstance(value, OnGPU)]
    if name in ('copy_', '_to_copy'):
        source = args[1] if name == 'copy_' else args[0]
        if goes_there != isinstance(source, OnGPU) and not kwargs.get('non_blocking') and args[2:3] != (True,):
            waits('a copy')
    elif not there:
        return
    elif name.startswith(('index', '_index')):
        if elsewhere or any(value.dtype == torch.bool for value in tensors[1:]):
            waits('an index of the CPU, or a mask')
    elif elsewhere:
        raise RuntimeError(f'{name}: Expected all tensors to be on the same device, found cuda:0 and cpu')
    elif name in ASKS:
        waits(name)


def on_cpu(name: str, function: Any, inputs: Any, named: Any) -> tuple[Any, Any, Any]:
    """Give what computes an operation on the CPU, which has not all that a GPU has."""
    if name == '_fused_sdp_choice':
        return (lambda *_, **__: 0), (), {}
    if name in ('_softmax', '_log_softmax') and inputs[2]:
        return (lambda x, dim: function(x.float(), dim, False)), inputs[:2], {}
    if name in ('_softmax_backward_data', '_log_softmax_backward_data') and inputs[3] != inputs[0].dtype:
        kind = inputs[3]
        return (lambda grad, out, dim: function(grad, out, dim, grad.dtype).to(kind)), inputs[:3], {}
    return function, inputs, named


def keep_before(function: Any, inputs: Any, named: Any) -> None:
    """Keep what an operation in place will write over: recording computes nothing."""
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        for value in tree_leaves(inputs[place] if place < len(inputs) else named.get(argument.name)):
            storage = value.untyped_storage() if isinstance(value, Tensor) else None
            if storage is not None and storage.data_ptr() not in State.before:
                whole = torch.empty(0, dtype=value.dtype).set_(storage)
                State.before[storage.data_ptr()] = whole, whole.clone()


class Graph:
    """Stand for torch.cuda.CUDAGraph."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.tape: list[Operation] = []

    def capture_begin(self) -> None:
        State.tape, State.before = self.tape, {}

    def capture_end(self) -> None:
        State.tape = None
        for whole, before in State.before.values():
            whole.copy_(before)

    def replay(self) -> None:
        """Do again what was done, on the same memory."""
        for function, inputs, named, result in self.tape:
            if getattr(function, 'is_view', False):
                continue
            given = {id(leaf) for leaf in tree_leaves((inputs, named)) if isinstance(leaf, Tensor)}
            for old, new in zip(tree_leaves(result), tree_leaves(function(*inputs, **named))):
                if isinstance(old, Tensor) and id(old) not in given and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recorder:
    """Stand for torch.cuda.graph."""

    def __init__(self, graph: Graph, pool: Any = None, stream: Any = None, capture_error_mode: str = '') -> None:
        self.graph = graph

    def __enter__(self) -> None:
        self.graph.capture_begin()

    def __exit__(self, *_: Any) -> None:
        self.graph.capture_end()
