"""Weights in files of others: of Lightning, of torch before 1.6, pickled networks. No code of theirs is run.

Objects of classes that are none of tensors' own become an :class:`Unknown`, which does nothing.
"""

from __future__ import annotations

import pickle
import types
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dinoir_plugin.core.atomic_files import DAMAGE, FileError

# how other files begin that are taken for weights
BEGINNINGS = {
    b'version https://git-lfs': 'it is the pointer that Git LFS leaves in the place of a file: run git lfs pull',
    b'<': 'it is a web page, as sites give it where a download needs a click or a login: download the file anew',
    b'{': 'it is text (JSON)',
    b'\x89HDF': 'it is an HDF5 file, as Keras writes them',
    b'\x1f\x8b': 'it is packed with gzip: unpack it first',
}
CONVERT = ('Where it came from, Python with the torch that wrote it converts it: '
           "torch.save({'params': network.state_dict()}, 'converted.pth')")  # fmt: skip
EXPORTED = {
    '.onnx': 'it is a graph of ONNX for other programs',
    '.pt2': 'it is a graph of torch.export for other programs',
}
PARTS = ('_parameters', '_buffers', '_modules')


class Unknown:
    """Stand for an object that is not read; whatever a pickle does to it has no effect but to keep its state."""

    dump_patches = False  # torch asks classes of pickled networks
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Unknown:
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take any arguments."""

    def __call__(self, *args: Any, **kwargs: Any) -> Unknown:
        """Stand for a function, too."""
        return Unknown()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an entry of what derives from dict."""

    def append(self, value: Any) -> None:
        """Take an entry of what derives from list."""

    def extend(self, values: Any) -> None:
        """Take entries of what derives from list."""

    def add(self, value: Any) -> None:
        """Take an entry of what derives from set."""


def load_foreign(path: Path) -> Any:
    """Read what others wrote by ``torch.save`` in any of its formats, onto the CPU.

    Raises:
        FileError: It cannot be read; the message says what it is instead, or how to convert it.
    """
    import torch

    if path.suffix in EXPORTED:
        raise FileError(f'{path} holds no checkpoint: {EXPORTED[path.suffix]}. Give the one that it was exported from')
    with path.open('rb') as stream:
        beginning = stream.read(64).lstrip()
    for known, words in BEGINNINGS.items():
        if beginning.startswith(known):
            raise FileError(f'{path} holds no weights: {words}')
    if zipfile.is_zipfile(path):
        _check_archive(path)
    reader = types.SimpleNamespace(__name__='pickle', Unpickler=Reader, load=_load)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            # not its own safe reader: that refuses a file for what stands beside the weights
            return torch.load(path, map_location='cpu', pickle_module=reader, weights_only=False, encoding='latin1')
    except DAMAGE as error:
        raise FileError(f'{path} is not a whole file of tensors written by torch.save. {CONVERT}') from error


def state_of(pickled: Unknown) -> dict[str, Any]:
    """Give the state dict of a network that was pickled as a whole; empty where it is something else."""
    parts = pickled.state if isinstance(pickled.state, dict) else {}
    if not all(isinstance(parts.get(name), Mapping) for name in PARTS):
        return {}
    left_out = parts.get('_non_persistent_buffers_set') or ()
    found = {**parts['_parameters'], **{k: v for k, v in parts['_buffers'].items() if k not in left_out}}
    for name, child in parts['_modules'].items():
        if isinstance(child, Unknown):
            found.update({f'{name}.{key}': value for key, value in state_of(child).items()})
    return found


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition('/')[2] for name in archive.namelist()}
            damaged = archive.testzip()
    except DAMAGE as error:
        raise FileError(f'{path} is not a whole file of tensors written by torch.save') from error
    if damaged is not None:
        raise FileError(f'{path} is damaged: its part {damaged} is not as it was written')
    if 'data.pkl' not in names:
        raise FileError(f'{path} is an archive of other things than tensors: unpack it, and give the file inside')


def _load(file: Any, **options: Any) -> Any:
    return Reader(file, **options).load()


class Reader(pickle.Unpickler):
    """Build tensors and plain values, and an Unknown in the place of all else."""

    def find_class(self, module: str, name: str) -> Any:
        """Give what a pickle may call: never a function of its own choice."""
        import torch

        if module in ('torch', 'torch.cuda', 'torch.storage') and name.endswith('Storage'):
            return torch.serialization.StorageType(name) if name != 'UntypedStorage' else torch.UntypedStorage
        value = getattr(torch, name, None) if module == 'torch' else None
        if isinstance(value, torch.dtype):
            return value
        return {**PLAIN, **_rebuilding()}.get((module, name), type('Unknown', (Unknown,), {}))


PLAIN: dict[tuple[str, str], Any] = {
    **{('collections', kind.__name__): kind for kind in (OrderedDict, Counter, defaultdict)},
    **{(module, name): kind for module in ('builtins', '__builtin__')
       for name, kind in (('dict', dict), ('set', set), ('list', list), ('int', int), ('float', float))},
}  # fmt: skip


def _rebuilding() -> dict[tuple[str, str], Callable[..., Any]]:
    """Give what makes tensors; functions made for this call, as a pickle may set attributes of what it is given."""
    from torch import Size, _utils

    def tensor(storage: Any, offset: int, size: Any, stride: Any, *more: Any) -> Any:
        return _utils._rebuild_tensor(storage, offset, size, stride)

    def parameter(data: Any, *more: Any) -> Any:
        return data

    def text_to_bytes(text: str, encoding: str) -> bytes:
        return text.encode(encoding)

    return {
        ('torch._utils', '_rebuild_tensor'): tensor, ('torch._utils', '_rebuild_tensor_v2'): tensor,
        ('torch._utils', '_rebuild_parameter'): parameter,
        ('torch._utils', '_rebuild_parameter_with_state'): parameter,
        ('torch', 'Size'): lambda sizes: Size(sizes), ('_codecs', 'encode'): text_to_bytes,
    }  # fmt: skip
