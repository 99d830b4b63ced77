"""A GPU that is pretended: tensors that say they are on it, with numbers that the CPU computes.

What is right on it: on which device a tensor is (others may not meet it), for what the host waits, and what a CUDA
graph repeats (the same operations on the same memory, with all that the host knew when it was recorded). Kernels,
their types and speed are the CPU's. Needs the preloaded ``cudart.c``, as autograd asks for streams.
"""

from collections.abc import Callable
from types import SimpleNamespace
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
    if name in ('copy_', '_to_copy'):
        source = args[name == 'copy_']
        goes_there = isinstance(args[0], OnGPU) if name == 'copy_' else goes_there
        unasked = kwargs.get('non_blocking') or args[2:3] == (True,)
        if goes_there != isinstance(source, OnGPU) and not unasked:
            waits('a copy')
    elif there and not name.startswith(('index', '_index')):
        if any(value.dim() and not isinstance(value, OnGPU) for value in tensors):
            raise RuntimeError(f'{name}: Expected all tensors to be on the same device, found cuda:0 and cpu')
    if there and name in ASKS:
        waits(name)
    inputs, named = tree_map_only(
        Tensor, lambda value: value.numbers if isinstance(value, OnGPU) else value, (args, kwargs)
    )
    if State.tape is not None:
        keep_before(function, inputs, named)
    function, inputs, named = on_cpu(name, function, inputs, named)
    result = function(*inputs, **named)
    if not goes_there:
        return result
    if State.tape is not None:
        State.tape.append(Operation(function, inputs, named, result))
    known = {id(value.numbers): value for value in there}
    return tree_map_only(Tensor, lambda value: known.get(id(value)) if id(value) in known else OnGPU(value), result)


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


class Idle:
    """Stand for streams, events and contexts: nothing is ever on its way."""

    cuda_stream = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> 'Idle':
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def nothing(self, *_: Any) -> None:
        pass

    wait_stream = wait_event = synchronize = record = nothing

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: Any) -> float:
        return 1.0


def wait_mode(mode: str) -> None:
    """Stand for torch.cuda.set_sync_debug_mode."""
    State.waiting = mode


ABOUT = SimpleNamespace(name='pretended GPU', major=9, minor=0, total_memory=1 << 37, multi_processor_count=132)
STREAM = Idle()
ANSWERS: dict[str, Any] = {
    'is_available': True, 'is_initialized': True, 'device_count': 1, 'current_device': 0, 'current_stream': STREAM,
    'get_device_name': ABOUT.name, 'get_device_capability': (9, 0), 'get_device_properties': ABOUT,
    'is_bf16_supported': True, 'mem_get_info': (100 << 30, 128 << 30), 'graph_pool_handle': None,
    **dict.fromkeys(('_lazy_init', 'set_device', 'set_stream', 'synchronize', 'empty_cache', 'set_rng_state'), None),
    **dict.fromkeys(('reset_peak_memory_stats', 'manual_seed', 'manual_seed_all'), None),
    **dict.fromkeys(('memory_reserved', 'memory_allocated', 'max_memory_allocated', 'max_memory_reserved'), 0),
}  # fmt: skip
STANDING: dict[str, Any] = {
    'CUDAGraph': Graph, 'graph': Recorder, 'Stream': Idle, 'Event': Idle, 'device': Idle, 'device_of': Idle,
    'stream': lambda stream: stream, 'is_current_stream_capturing': lambda: State.tape is not None,
    'get_rng_state': lambda *_: torch.get_rng_state(), 'set_sync_debug_mode': wait_mode,
}  # fmt: skip
# what makes tensors, told of a device without a number or of pinned memory, asks the driver before any mode is
FACTORIES = ('empty', 'zeros', 'ones', 'full', 'rand', 'randn', 'randint', 'arange', 'linspace', 'eye', 'randperm',
             'as_tensor', 'empty_like', 'zeros_like', 'ones_like', 'full_like', 'rand_like', 'randn_like')  # fmt: skip


def install() -> None:
    """Pretend from here on, in all threads."""
    import threading

    for name, answer in ANSWERS.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    for name, value in STANDING.items():
        setattr(torch.cuda, name, value)
    for name in FACTORIES:
        setattr(torch, name, numbered(getattr(torch, name)))
    to, make, take, put = Tensor.to, torch.tensor, Tensor.__getitem__, Tensor.__setitem__
    methods: dict[str, Any] = {
        'to': numbered(to), 'cuda': lambda self, *_, **named: self.to(GPU, **named),
        'pin_memory': lambda self, *_: self, 'is_pinned': lambda self, *_: True,
        '__getitem__': lambda self, index: take(self, listed(index)),
        '__setitem__': lambda self, index, value: put(self, listed(index), like(self, value)),
    }  # fmt: skip
    for name, method in methods.items():
        setattr(Tensor, name, method)
    torch.tensor = lambda *given, device=None, **named: (
        make(*given, **named) if device is None else make(*given, **named).to(device)
    )
    # optimizers take what is loaded to where their parameters are
    torch.UntypedStorage.cuda = lambda self, *_, **__: self
    depth, run = torch._C._len_torch_dispatch_stack, threading.Thread.run
    torch._C._len_torch_dispatch_stack = lambda: max(0, depth() - 1)

    def run_pretending(thread: threading.Thread) -> None:
        with Pretending():
            run(thread)

    threading.Thread.run = run_pretending  # type: ignore[method-assign]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.backends.cudnn.enabled = False
    Pretending().__enter__()


def numbered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that takes ``cuda`` for the GPU, and no pinned memory."""

    def named_one(value: Any) -> Any:
        device = isinstance(value, (str, torch.device)) and torch.device(value).type == 'cuda'
        return GPU if device else value

    def call(*given: Any, **named: Any) -> Any:
        named.pop('pin_memory', None)
        return function(*map(named_one, given), **{name: named_one(value) for name, value in named.items()})

    return call


def listed(index: Any) -> Any:
    """Give an index in which lists are tensors."""
    if isinstance(index, tuple):
        return tuple(torch.as_tensor(one) if isinstance(one, list) else one for one in index)
    return torch.as_tensor(index) if isinstance(index, list) else index


def like(tensor: Tensor, value: Any) -> Any:
    """Give a number as a tensor where the other is on the GPU."""
    if isinstance(value, (int, float)) and isinstance(tensor, OnGPU):
        return torch.full((), value, dtype=tensor.dtype, device=GPU)
    return value
