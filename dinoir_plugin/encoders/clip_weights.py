"""Pretrained weights of CLIP: OpenCLIP's download, or a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.weights import first_line, require_network

# OpenCLIP's tags of what ``auto`` downloads. All were trained with the exact GELU and with the image statistics of
# CLIP; ``laion2b_s32b_b82k`` of the larger one was with others.
TAGS = {'ViT-B-32': 'laion2b_s34b_b79k', 'ViT-L-14': 'datacomp_xl_s13b_b90k'}
FILES = ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin')
OPTION = 'weights'


def load_clip(clip: nn.Module, name: str, weights: str) -> None:
    """Fill a CLIP in place.

    Args:
        clip: A :class:`~dinoir_plugin.encoders.clip.CLIP`.
        name: OpenCLIP's name of it, a key of :data:`TAGS`.
        weights: ``auto``, or the path of a file with OpenCLIP's names, also one in which CLIP is a part.

    Raises:
        OptionsError: They cannot be had, or belong to another CLIP (path ``weights``).
    """
    remedy = f"Give 'auto', or a state dict of OpenCLIP's {name}"
    path = _download(name) if weights == 'auto' else Path(weights).expanduser()
    try:
        file = network_file.read(path)
    except FileError as error:
        raise OptionsError(OPTION, f"expected 'auto', 'random' or a file of CLIP, but {error}", remedy) from error
    _, found = file.choose(None, clip)
    problem = found.problem(outside=True)
    if problem:
        raise OptionsError(OPTION, f"{path} holds no CLIP '{name}': it {problem}", remedy)
    clip.load_state_dict(found.state)


def _download(name: str) -> Path:
    """Fetch OpenCLIP's weights, or find them where they were fetched before."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from open_clip import pretrained
    except ImportError as error:
        problem = f"'auto' needs the package open_clip_torch ({error})"
        raise OptionsError(OPTION, problem, "pip install 'dinoir_plugin[clip]'") from error
    config = pretrained.get_pretrained_cfg(name, TAGS[name])
    repository = str(config['hf_hub']).strip('/')
    for file in FILES:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    try:
        require_network()
        return Path(pretrained.download_pretrained(config))
    # the hub's client raises its own and its transport's errors, none of which share a base narrower than this
    except Exception as error:
        raise OptionsError(
            OPTION, f"'auto' could not download CLIP '{name}' ({first_line(error)})",
            f'Fetch {FILES[0]} of https://huggingface.co/{repository} on a machine with network access, copy it here '
            'and set weights to its path (or to `random` for a smoke run)',
        ) from error  # fmt: skip
