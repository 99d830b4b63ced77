"""Keep a trained network in one file, with what it takes to build it again: ``.pth`` or ``.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoir_plugin.core.atomic_files import FileError, load_verified, save_atomic, write_atomic
from dinoir_plugin.core.keras_file import ENDINGS as KERAS_ENDINGS
from dinoir_plugin.core.keras_file import read_keras
from dinoir_plugin.core.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

# Where in the file the description stands: a key beside `params`, or one of the metadata of safetensors.
KEY = 'dinoir_plugin'
STATES = ('params', 'params_ema')
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
        states: State dicts under ``params`` (as trained) and ``params_ema`` (averaged), one of them at least.
        description: None in files of others.
    """

    states: dict[str, State]
    description: Description | None


def pack(states: Mapping[str, State], description: Description) -> dict[str, Any]:
    """Give the content of a ``.pth`` file; BasicSR's own loader takes ``params`` and ``params_ema`` from it."""
    return {**states, KEY: description.text()}


def read(path: str | Path) -> NetworkFile:
    """Read a network, onto the CPU, without running code from the file.

    Args:
        path: A ``.safetensors`` of :func:`write`, a ``.h5`` of Keras (:mod:`~dinoir_plugin.core.keras_file`), or
            anything else as ``.pth``: of this plugin, of BasicSR, a plain state dict, or several of them by name.

    Raises:
        FileError: It is missing, not whole, or no network.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise FileError(f'{path}: expected a file with a trained network, but this is a folder')
    if path.suffix in KERAS_ENDINGS:
        return NetworkFile({'params': read_keras(path)}, None)
    states, text = _read_safetensors(path) if path.suffix == '.safetensors' else _read_pth(path)
    if not states:
        raise FileError(f'{path}: expected a trained network, but there is no state dict in it')
    return NetworkFile(states, None if text is None else _description(text, path))


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


def misfit(state: Mapping[str, Any], network: nn.Module) -> str:
    """Say how a state dict differs from a network's in names and shapes, for an error; empty where it fits."""
    explain: Any = getattr(network, 'explain_misfit', None)
    if explain is not None and (why := explain(state)):
        return str(why)
    wanted = network.state_dict()
    problems = [f"lacks '{key}'" for key in wanted if key not in state]
    problems += [f"has an unknown '{key}'" for key in state if key not in wanted]
    problems += [
        f"has '{key}' as {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    more = f' and {len(problems) - 2} more' if len(problems) > 2 else ''
    return ', '.join(problems[:2]) + more


def _read_pth(path: Path) -> tuple[dict[str, State], Any]:
    content = load_verified(path)
    if not isinstance(content, dict):
        return {}, None
    found = {key: content[key] for key in STATES if key in content}
    if not found:
        found = {'params': _joined(content.get('state_dict', content))}
    states = {key: tensors_of(value) for key, value in found.items()}
    return {key: state for key, state in states.items() if state}, content.get(KEY)


def _joined(content: Any) -> Any:
    """Make one state dict of several, as IRCNN's file has them: ``{'0': {'model.0.weight': ...}, ...}``."""
    if not isinstance(content, Mapping) or not all(isinstance(value, Mapping) for value in content.values()):
        return content
    return {f'{name}.{key}': value for name, state in content.items() for key, value in state.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, State], Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileError(f'{path} is missing')
    states: dict[str, State] = {}
    try:
        with safe_open(path, framework='pt') as file:
            text = (file.metadata() or {}).get(KEY)
            for key in file.keys():
                kind, _, name = key.partition('.')
                kind, name = (kind, name) if kind in STATES else ('params', key)
                states.setdefault(kind, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise FileError(f'{path} is not a whole .safetensors file ({error})') from error
    return states, text


def tensors_of(value: Any) -> State:
    """Give a state dict without the prefix that DDP leaves; empty where ``value`` is none."""
    import torch
    from torch import Tensor

    if not isinstance(value, Mapping):
        return {}
    dense = {str(k): v for k, v in value.items() if isinstance(v, Tensor) and v.layout == torch.strided}
    return {name.removeprefix('module.'): tensor for name, tensor in dense.items()}


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
