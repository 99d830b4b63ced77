"""Pretrained weights of CLIP: a download of OpenCLIP's or OpenAI's, or a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dinoir_plugin.core import network_file
from dinoir_plugin.core.atomic_files import FileError
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.clip import CLIP
from dinoir_plugin.encoders.weight_files import OPTION, hub_file

# where ``auto`` downloads from. OpenCLIP's were trained with the exact GELU and with the image statistics of CLIP
# (``laion2b_s32b_b82k`` of the larger one was with others)
OPENCLIP = {'ViT-B-32': 'laion/CLIP-ViT-B-32-laion2B-s34B-b79K',
            'ViT-L-14': 'laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K'}  # fmt: skip
OPENAI = {'ViT-B-32': 'timm/vit_base_patch32_clip_224.openai', 'ViT-L-14': 'timm/vit_large_patch14_clip_224.openai'}
FILES = ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin')
# numbers that OpenAI's archives have among the weights
SIZES = ('input_resolution', 'context_length', 'vocab_size')


def load_clip(clip: CLIP, name: str, weights: str) -> None:
    """Fill a CLIP in place.

    Args:
        clip: What is filled: with ``quick_gelu`` it is OpenAI's, without it OpenCLIP's.
        name: OpenCLIP's name of it, a key of :data:`OPENCLIP`.
        weights: ``auto``, or the path of a file with their names, also one in which CLIP is a part, or OpenAI's
            archive.

    Raises:
        OptionsError: They cannot be had, or belong to another CLIP (path ``weights``).
    """
    whose, repositories = ("OpenAI's", OPENAI) if clip.quick_gelu else ("OpenCLIP's", OPENCLIP)
    remedy = f"Give 'auto', or the weights of {whose} {name}"
    auto = weights == 'auto'
    path = hub_file(repositories[name], FILES, f"CLIP '{name}'") if auto else Path(weights).expanduser()
    try:
        file = network_file.read(path)
    except FileError as error:
        raise OptionsError(OPTION, f"expected 'auto', 'random' or a file of CLIP, but {error}", remedy) from error
    states = {
        key: {name: value for name, value in state.items() if name not in SIZES} for key, state in file.states.items()
    }
    _, found = replace(file, states=states).choose(None, clip)
    problem = found.problem(outside=True)
    if problem:
        raise OptionsError(OPTION, f"{path} holds no CLIP '{name}': it {problem}", remedy)
    clip.load_state_dict(found.state)
