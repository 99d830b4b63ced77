"""Keep a trained network in one file, with what it takes to build it again: ``.pth`` or ``.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.atomic_files import FileError, load_verified, save_atomic, write_atomic
from dinoir_plugin.core.fitting import Fit, fit
from dinoir_plugin.core.foreign_files import Unknown, load_foreign, state_of
from dinoir_plugin.core.keras_file import ENDINGS as KERAS_ENDINGS
from dinoir_plugin.core.keras_file import read_keras
from dinoir_plugin.core.script_file import is_script, read_script
from dinoir_plugin.core.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

# Where in the file the description stands: a key beside `params`, or one of the metadata of safetensors.
KEY = 'dinoir_plugin'
STATES = ('params', 'params_ema')
NESTED = 3  # how deep in a file a state dict may lie
NOT_WEIGHTS = ('optim', 'sched')  # in the names of what stands beside it
# of the description's values
KINDS: dict[str, tuple[type, ...]] = {
    'network': (dict,),
    'encoders': (dict,),
    'sampler': (dict, type(None)),
    'version': (str,),
    'name': (str,),
    'iteration': (int, type(None)),
    'tasks': (list,),
    'patch_size': (int, type(None)),
}


@dataclass(frozen=True)
class Description:
    """Hold what stands in the file beside the numbers.

    Attributes:
        network: The options of the network, as in ``network_g``.
        encoders: Fingerprints of the frozen encoders' weights, which are not in the file, by the encoder's key in
            ``network``.
        sampler: How the network restores, as under ``val.sampler``; None: in one pass.
        version: Of the plugin that wrote the file.
        name: The run's.
        iteration: After how many steps; None where that is not known.
        tasks: What was trained for, by the names in the options.
        patch_size: Side of the training patches in pixels, at the end of training; None where that is not known.
    """

    network: dict[str, Any]
    encoders: dict[str, list[float]] = field(default_factory=dict)
    sampler: dict[str, Any] | None = None
    version: str = __version__
    name: str = ''
    iteration: int | None = None
    tasks: list[str] = field(default_factory=list)
    patch_size: int | None = None

    def text(self) -> str:
        """Write it as JSON."""
        return json.dumps(vars(self), default=str)


@dataclass(frozen=True)
class NetworkFile:
    """Hold what is in the file.

    Attributes:
        states: State dicts by name, one at least: ``params`` (as trained) and ``params_ema`` (averaged); the only one
            in a file of others is ``params``, too, and where there are several they have the names of that file.
        description: None in files of others.
        where: Where ``params`` stands in a file of others; empty for the file itself.
    """

    states: dict[str, State]
    description: Description | None
    where: str = 'params'

    def choose(self, wanted: str | None, network: nn.Module) -> tuple[str, Fit]:
        """Find the state dict for a network.

        Args:
            wanted: Its name, taken where there is one of it; otherwise ``params`` is, or what fits best.
            network: What is to be filled; not changed.

        Returns:
            Its name, and how it fits.
        """
        own = next((name for name in (wanted, 'params') if name in self.states), None)
        names = list(self.states) if own is None else [own]
        fits = {name: fit(self.states[name], network) for name in names}
        best = max(names, key=lambda name: len(fits[name].state))
        return best, fits[best]


def pack(states: Mapping[str, State], description: Description) -> dict[str, Any]:
    """Give the content of a ``.pth`` file; BasicSR's own loader takes ``params`` and ``params_ema`` from it."""
    return {**states, KEY: description.text()}


def read(path: str | Path) -> NetworkFile:
    """Read a network, onto the CPU, without running code from the file.

    Args:
        path: A ``.safetensors``, a ``.h5`` of Keras (:mod:`~dinoir_plugin.core.keras_file`), what ``torch.save``
            wrote (of this plugin, of BasicSR, of Lightning, a plain state dict, a pickled network, also by a torch from
            before 1.6), or what ``torch.jit.save`` did.

    Raises:
        FileError: It is missing, not whole, or no network.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise FileError(f'{path}: expected a file with a trained network, but this is a folder')
    if path.suffix in KERAS_ENDINGS:
        return NetworkFile({'params': read_keras(path)}, None)
    if not path.is_file():
        raise FileError(f'{path} is missing')
    states, text = _read_safetensors(path) if _is_safetensors(path) else _read_pth(path)
    if not states:
        raise FileError(f'{path}: expected a trained network, but there is no state dict in it')
    where = 'params'
    if len(states) == 1 and not set(states).intersection(STATES):
        where, state = next(iter(states.items()))
        states = {'params': state}
    return NetworkFile(states, None if text is None else _description(text, path), where)


def write(path: str | Path, content: NetworkFile) -> None:
    """Write a network, whole or not at all; the ending says in which format.

    Raises:
        ValueError: An ending other than ``.pth`` and ``.safetensors``.
        FileError: It cannot be written.
    """
    path = Path(path).expanduser()
    text = {} if content.description is None else {KEY: content.description.text()}
    if path.suffix == '.pth':
        save_atomic(path, {**content.states, **text})
    elif path.suffix == '.safetensors':
        from safetensors.torch import save

        tensors = {f'{key}.{name}': value for key, state in content.states.items() for name, value in state.items()}
        write_atomic(path, save({name: value.contiguous().clone() for name, value in tensors.items()}, text))
    else:
        raise ValueError(f"{path}: expected an ending .pth or .safetensors, got '{path.suffix}'")


def _is_safetensors(path: Path) -> bool:
    """Tell it by the content: eight bytes with the length of a header in JSON, then the header."""
    with path.open('rb') as stream:
        return path.suffix == '.safetensors' or stream.read(9)[8:] == b'{'


def _read_pth(path: Path) -> tuple[dict[str, State], Any]:
    if is_script(path):
        return states_in(read_script(path)), None
    try:
        content = load_verified(path)
    except FileError as error:
        content = load_foreign(path)
        states = states_in(content)
        # in a file of ours nothing else stands, unless somebody put it there
        if not states or (isinstance(content, dict) and KEY in content):
            raise error
        return states, None
    return states_in(content), content.get(KEY) if isinstance(content, dict) else None


def states_in(content: Any, name: str = '', depth: int = 0) -> dict[str, State]:
    """Find the state dicts in what a file holds, by the keys that lead to them, joined by dots."""
    if isinstance(content, Unknown):
        content = state_of(content)
    if not isinstance(content, Mapping):
        return {}
    content = _joined(content)
    found: dict[str, State] = {}
    own = [key for key in STATES if key in content] if depth == 0 else []
    for key in own or content:
        if depth < NESTED and not any(word in str(key) for word in NOT_WEIGHTS):
            found.update(states_in(content[key], f'{name}.{key}' if name else str(key), depth + 1))
    return found or ({name: tensors_of(content)} if tensors_of(content) else {})


def _joined(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Make one state dict of several, as IRCNN's file has them: ``{'0': {'model.0.weight': ...}, ...}``."""
    if not all(str(name).isdigit() and isinstance(state, Mapping) for name, state in content.items()):
        return content
    return {f'{name}.{key}': value for name, state in content.items() for key, value in state.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, State], Any]:
    from safetensors import SafetensorError, safe_open

    states: dict[str, State] = {}
    try:
        with safe_open(path, framework='pt') as file:
            text = (file.metadata() or {}).get(KEY)
            for key in file.keys():
                kind, _, name = key.partition('.')
                kind, name = (kind, name) if kind in STATES else ('', key)
                states.setdefault(kind, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise FileError(f'{path} is not a whole .safetensors file ({error})') from error
    return states, text


def tensors_of(value: Any) -> State:
    """Give a state dict's tensors; empty where ``value`` is none."""
    import torch
    from torch import Tensor

    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, Tensor) and v.layout == torch.strided}


def _description(text: Any, path: Path) -> Description:
    try:
        content = json.loads(text)
        earlier = content.pop('encoder', None)  # once there was one encoder only, under this key
        if earlier is not None:
            content['encoders'] = {'encoder': earlier}
        found = Description(**content)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FileError(f'{path}: its description cannot be read ({error}). Was it written by a newer version?'
                        ) from error
    wrong = [name for name, kinds in KINDS.items() if not isinstance(getattr(found, name), kinds)]
    for name, kind in (('encoders', list), ('tasks', str)):
        if name not in wrong and not _all(found, name, kind):
            wrong.append(name)
    if wrong:
        raise FileError(f'{path}: its description is damaged: {wrong[0]} is {getattr(found, wrong[0])!r:.60}')
    return found


def _all(description: Description, name: str, kind: type) -> bool:
    """Tell whether all entries of a list, or values of a mapping, are of a kind; lists hold numbers."""
    value = getattr(description, name)
    entries = value.values() if isinstance(value, dict) else value
    numbers = [number for entry in entries if isinstance(entry, list) for number in entry]
    return all(isinstance(entry, kind) for entry in entries) and all(isinstance(n, (int, float)) for n in numbers)
