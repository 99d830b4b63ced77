"""Texts as CLIP's frozen text tower sees them: captions, and the words for degradations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from dinoir_plugin.core.transfer import to_device
from dinoir_plugin.encoders.clip_tokenizer import tokenize
from dinoir_plugin.methods.daclip.controller import DACLIP
from dinoir_plugin.methods.daclip.words import WORDS, word_tokens
from dinoir_plugin.nn.precision import no_autocast

CHUNK = 256  # texts that are encoded together


class Texts:
    """Encode each text once.

    Args:
        network: Its text tower is used, which does not learn.
    """

    def __init__(self, network: DACLIP) -> None:
        self._network = network
        self._known: dict[str, Tensor] = {}

    def features(self, texts: Sequence[str], option: str) -> Tensor:
        """Give the embeddings, (texts, embed_dim), on the network's device, in float32, not normalised.

        Args:
            texts: Any number.
            option: Which option they come from, for errors.

        Raises:
            OptionsError: Texts other than the words need a package that is not installed.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for first in range(0, len(new), CHUNK):
            part = new[first : first + CHUNK]
            self._known.update(zip(part, self._encoded(part, option)))
        return torch.stack([self._known[text] for text in texts])

    def _encoded(self, texts: Sequence[str], option: str) -> Tensor:
        tower = self._network.clip
        tokens = tokens_of(texts, len(tower.positional_embedding), option).to(tower.text_projection.device)
        with torch.no_grad(), no_autocast(tower.text_projection):
            return tower.encode_text(tokens)


def tokens_of(texts: Sequence[str], length: int, option: str) -> Tensor:
    """Give the tokens of texts, (texts, up to ``length``); the ten words need no vocabulary."""
    if all(text in WORDS for text in texts):
        words = list(WORDS)
        return word_tokens()[[words.index(text) for text in texts]]
    return tokenize(texts, option, length)


def kinds_of(texts: Sequence[str], device: torch.device) -> Tensor:
    """Give numbers, (texts,), that are equal where texts are, on all ranks."""
    digests = (hashlib.blake2b(text.encode(errors='surrogateescape'), digest_size=8).digest() for text in texts)
    numbers = [int.from_bytes(digest, 'little', signed=True) for digest in digests]
    return to_device(torch.tensor(numbers), device)
