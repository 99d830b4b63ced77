import pytest
import torch

from dinoir_plugin.encoders.clip_tokenizer import tokenize
from dinoir_plugin.methods.daclip import WORDS, word_tokens


def test_each_word_stands_between_start_and_end():
    tokens = word_tokens()
    assert tokens.shape == (10, 6)
    assert tokens[0].tolist() == [49406, 7860, 268, 21977, 49407, 0]
    assert (tokens[:, 0] == 49406).all()
    assert torch.equal(tokens.max(dim=1).values, torch.full((10,), 49407))
    assert tokens.argmax(dim=1).tolist() == [len(word) + 1 for word in WORDS.values()]


def test_tokens_are_those_of_the_vocabulary():
    pytest.importorskip('open_clip')
    tokens = tokenize(list(WORDS))
    assert tokens.shape == (10, 77)
    assert torch.equal(tokens[:, :6], word_tokens())
    assert not tokens[:, 6:].any()
