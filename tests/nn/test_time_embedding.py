import math

import pytest
import torch

from dinoir_plugin.nn.time_embedding import TimeEmbedding


def test_sines_then_cosines_of_waves_from_fast_to_slow():
    found = TimeEmbedding(6)(torch.tensor([3.0, 50.0]))
    for row, time in zip(found.tolist(), (3.0, 50.0)):
        angles = [time * frequency for frequency in (1, 1e-2, 1e-4)]
        assert row == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-5)
    half = TimeEmbedding(6)(torch.tensor([50.0], dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half[0].float(), found[1], rtol=0, atol=5e-3)
