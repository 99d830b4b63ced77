"""CLIP's tokens of a text, by the package open_clip_torch, which carries the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dinoir_plugin.core.errors import OptionsError

CONTEXT_LENGTH = 77


def tokenize(texts: Sequence[str], option: str = 'type', context_length: int = CONTEXT_LENGTH) -> Tensor:
    """Make tokens of texts, in small letters, between those for start and end.

    Args:
        texts: Any number; what is too long is cut off.
        option: Which option an error is about.
        context_length: Tokens of each.

    Returns:
        (texts, context_length), int64, filled up with zeros.

    Raises:
        OptionsError: The package is not installed.
    """
    try:
        from open_clip import tokenizer
    except ImportError as error:
        problem = f'tokens of a text need the package open_clip_torch ({error})'
        raise OptionsError(option, problem, "pip install 'dinoir_plugin[clip]'") from error
    tokens: Tensor = tokenizer.tokenize(list(texts), context_length)
    return tokens
