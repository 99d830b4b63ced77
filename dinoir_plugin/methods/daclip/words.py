"""The ten degradations of DA-CLIP by the words for them, with CLIP's tokens, so that these need no vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

START, END = 49406, 49407

# in the order of the authors' classes
WORDS: dict[str, tuple[int, ...]] = {
    'motion-blurry': (7860, 268, 21977),
    'hazy': (32655,),
    'jpeg-compressed': (73, 11207, 268, 42359),
    'low-light': (1042, 268, 1395),
    'noisy': (33495,),
    'raindrop': (3128, 3387),
    'rainy': (10222,),
    'shadowed': (15243, 538),
    'snowy': (14191,),
    'uncompleted': (569, 5976),
}


def word_tokens() -> Tensor:
    """Give the tokens of all words, (10, N), for :meth:`DACLIP.encode_text`: start, word, end, and zeros."""
    length = max(map(len, WORDS.values())) + 2
    tokens = torch.zeros(len(WORDS), length, dtype=torch.long)
    for row, word in zip(tokens, WORDS.values()):
        row[: len(word) + 2] = torch.tensor([START, *word, END])
    return tokens
