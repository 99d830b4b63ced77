"""The quality prompts of Perceive-IR (E1 to E3): three learned texts by which CLIP tells how good an image is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinoir_plugin.core.atomic_files import FileError, load_verified, save_atomic
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.encoders.clip import CLIP
from dinoir_plugin.methods.perceive_ir.clip_aware import quality_logits
from dinoir_plugin.nn.precision import full, no_autocast

# of CLIP's vocabulary; each word is one token
WORDS = {'terrible': 9741, 'mediocre': 41170, 'excellent': 4239}
START, END, FILLER = 49406, 49407, 343
LENGTH = 16
CONTEXT_STD = 0.02
PROMPTS, ITERATION, BALANCED = 'prompt_learner', 'iteration', 'task_balanced'


class QualityPrompts(nn.Module):
    """Hold the vectors of three prompts, terrible, mediocre and excellent, between those of CLIP's start and end.

    They are what learns; the last one of each starts as its word. Names in the state dict are those of the authors'
    release. CLIP itself is no part of it and given at each call.

    Args:
        clip: Its tokens' vectors are taken over.
        length: Vectors of each prompt.

    Attributes:
        context: What learns, (3, length, width).
        token_prefix: The start's vector, (3, 1, width).
        token_suffix: Those of the end and of what fills up, (3, context length of CLIP - 1 - length, width).
        tokenized_prompts: Tokens that stand where the prompts do, (3, context length of CLIP), of which the end's place
            counts.

    Raises:
        OptionsError: A CLIP without the tokens of the words, or too short for so many vectors.
    """

    token_prefix: Tensor
    token_suffix: Tensor
    tokenized_prompts: Tensor

    def __init__(self, clip: CLIP, length: int = LENGTH) -> None:
        super().__init__()
        longest, count = len(clip.positional_embedding), len(clip.token_embedding.weight)
        if length > longest - 2 or length < 1:
            raise OptionsError('length', f'expected from 1 to {longest - 2} vectors for this CLIP, got {length}')
        if count <= END:
            expected = f"expected a CLIP with OpenAI's {END + 1} tokens"
            raise OptionsError('clip', f'{expected}, which the words are of, got one with {count}')
        tokens = torch.zeros(longest, dtype=torch.int32)
        tokens[: length + 2] = torch.tensor([START, *[FILLER] * length, END])
        own = clip.token_embedding.weight.detach()
        fixed = own[tokens.to(own.device).long()].expand(len(WORDS), -1, -1)
        self.context = nn.Parameter(torch.randn_like(fixed[:, 1 : length + 1]) * CONTEXT_STD)
        self.context.data[:, -1] = own[list(WORDS.values())]
        self.register_buffer('token_prefix', fixed[:, :1].clone())
        self.register_buffer('token_suffix', fixed[:, length + 1 :].clone())
        self.register_buffer('tokenized_prompts', tokens.expand(len(WORDS), -1).clone())

    @property
    def length(self) -> int:
        """Give how many vectors each prompt has."""
        return self.context.shape[1]

    def forward(self) -> Tensor:
        """Give the prompts as vectors, (3, context length of CLIP, width), before positions are added."""
        return torch.cat([self.token_prefix, self.context, self.token_suffix], dim=1)

    def features(self, clip: CLIP) -> Tensor:
        """Give what CLIP makes of the prompts, (3, D), of unit length, float32 at least."""
        vectors = self()
        with no_autocast(vectors):
            return F.normalize(full(clip.encode_vectors(vectors, self.tokenized_prompts.argmax(dim=-1))), dim=-1)


def prompt_loss(image_features: Tensor, labels: Tensor, quality_features: Tensor, logit_scale: Tensor) -> Tensor:
    """Teach the prompts to tell the quality of images: the cross-entropy of CLIP's own logits.

    Args:
        image_features: CLIP's, (B, D), of any length.
        labels: 0, 1 or 2, (B,), for terrible, mediocre and excellent.
        quality_features: As :meth:`QualityPrompts.features` gives them, (3, D).
        logit_scale: CLIP's factor of cosines, not its logarithm.

    Returns:
        A scalar, float32 at least.
    """
    return F.cross_entropy(quality_logits(image_features, quality_features, logit_scale), labels)


class PromptFile(NamedTuple):
    """Hold what a file of prompts says.

    Attributes:
        prompts: The prompts.
        iteration: Of their training, at which it was written.
        task_balanced: Whether each task had the same share of what they were trained on.
        others: What else stands in the file.
    """

    prompts: QualityPrompts
    iteration: int
    task_balanced: bool
    others: Mapping[str, Any] = {}


def write_prompts(path: str | Path, file: PromptFile) -> None:
    """Write prompts as the authors' release does.

    Raises:
        FileError: The file cannot be written.
    """
    state = file.prompts.state_dict()
    save_atomic(path, {**file.others, PROMPTS: state, ITERATION: file.iteration, BALANCED: file.task_balanced})


def read_prompts(path: str | Path, clip: CLIP, option: str = 'prompts') -> PromptFile:
    """Read prompts, of the authors' release or :func:`write_prompts`.

    Args:
        path: The file.
        clip: The CLIP that they were trained with.
        option: Which option an error is about.

    Raises:
        OptionsError: No such file, no prompts in it, or prompts of another CLIP.
    """
    try:
        content = load_verified(path)
    except FileError as error:
        raise OptionsError(option, f'expected a file of quality prompts, but {error}') from error
    state: Any = content.get(PROMPTS) if isinstance(content, dict) else None
    context = state.get('context') if isinstance(state, Mapping) else None
    if not isinstance(context, Tensor) or context.ndim != 3 or len(context) != len(WORDS):
        problem = f"expected a file of quality prompts, but '{path}' has no '{PROMPTS}' with a context (3, N, width)"
        raise OptionsError(option, problem)
    others = {key: value for key, value in content.items() if key not in (PROMPTS, ITERATION, BALANCED)}
    iteration, balanced = int(content.get(ITERATION, 0)), bool(content.get(BALANCED, False))
    prompts = QualityPrompts(clip, context.shape[1])
    own = prompts.state_dict()
    fixed = [name for name in own if name != 'context']
    if context.shape != own['context'].shape or not all(_same(state.get(name), own[name]) for name in fixed):
        problem = f"the prompts in '{path}' were trained with another CLIP: its vectors of start and end are others"
        raise OptionsError(option, problem, 'Give the CLIP of their training, or train prompts for this one')
    prompts.load_state_dict(state, strict=True)
    return PromptFile(prompts, iteration, balanced, others)


def _same(one: Any, other: Tensor) -> bool:
    """Compare tensors, of which one may have been in half precision."""
    if not isinstance(one, Tensor) or one.shape != other.shape:
        return False
    return torch.allclose(one.to(other).float(), other.float(), rtol=1e-2, atol=1e-3)
