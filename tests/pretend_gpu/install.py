"""Pretend a GPU: what torch says of it, and what makes tensors on it."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.pretend_gpu.device import GPU, Graph, OnGPU, Pretending, Recorder, State


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

    threading.Thread.run = run_pretending
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
