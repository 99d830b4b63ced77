"""Weights in a TorchScript program, such as OpenAI's archives of CLIP. It is not run, nor is any code of it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.atomic_files import DAMAGE, FileError
from dinoir_plugin.core.foreign_files import Reader, Unknown

if TYPE_CHECKING:
    from torch import Tensor

MARK = 'constants.pkl'  # a program has it, and no other file of torch's
CODE = '__torch__'
# a class in the code, and which of its attributes are in its network's state dict
CLASS = r'^class {}\(Module\):\n((?:  __(?:parameters|buffers)__ = .*\n)*)'


def is_script(path: Path) -> bool:
    """Tell whether a file is a program, as ``torch.jit.save`` writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition('/')[2] == MARK for name in archive.namelist())


def read_script(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a program, onto the CPU.

    Raises:
        FileError: It is not whole.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise FileError(f'{path} is damaged: its part {damaged} is not as it was written')
            root = archive.namelist()[0].partition('/')[0]
            with archive.open(f'{root}/data.pkl') as stream:
                return _state(_ScriptReader(stream, archive, root).load())
    except DAMAGE as error:
        raise FileError(f'{path} is not a whole TorchScript program') from error


class _Module(Unknown):
    """Stand for a network of a program; ``tensors`` names what is in its state dict."""

    tensors: frozenset[str] = frozenset()


class _ScriptReader(Reader):
    """Build tensors, whose numbers lie beside the pickle, and a :class:`_Module` for each network."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self._archive, self._root = archive, root

    def persistent_load(self, place: Any) -> Any:
        """Give the storage that a tensor lies in."""
        import torch

        _, kind, key, *_ = place
        content = bytearray(self._archive.read(f'{self._root}/data/{key}'))
        numbers = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
        return torch.storage.TypedStorage(wrap_storage=numbers.untyped_storage(), dtype=kind.dtype, _internal=True)

    def find_class(self, module: str, name: str) -> Any:
        """Give a module's class the names of its tensors, which stand in its code."""
        if module.partition('.')[0] != CODE:
            return super().find_class(module, name)
        code = self._archive.read(f'{self._root}/code/{module.replace(".", "/")}.py').decode()
        found = re.search(CLASS.format(re.escape(name)), code, re.MULTILINE)
        names = re.findall(r'"([^"]+)"', found[1]) if found else ()
        return type(name, (_Module,), {'tensors': frozenset(names)})


def _state(module: Any) -> dict[str, Tensor]:
    found = {}
    for name, value in module.state.items() if isinstance(module.state, dict) else ():
        if isinstance(value, _Module):
            found.update({f'{name}.{key}': tensor for key, tensor in _state(value).items()})
        elif name in module.tensors:
            found[name] = value
    return found
