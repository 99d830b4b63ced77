"""Convolutions of features kept as (B, H, W, C), and the same strip by strip."""

import pytest
import torch
from torch import nn

from dinoir_plugin.nn import pixelwise
from dinoir_plugin.nn.pixelwise import convolved_strips, depthwise, pointwise, project_into, works_in_strips


def of_channels_first(conv, x):
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def test_pointwise_and_depthwise_are_the_convolutions():
    x = torch.randn(2, 5, 6, 4)
    for biased in (False, True):
        point, depth = nn.Conv2d(4, 7, 1, bias=biased), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=biased)
        torch.testing.assert_close(pointwise(point, x), of_channels_first(point, x))
        torch.testing.assert_close(depthwise(depth, x), of_channels_first(depth, x))
        out = torch.empty(60, 7)
        with torch.no_grad():
            project_into(point, x.view(60, 4), out)
        torch.testing.assert_close(out.view(2, 5, 6, 7), pointwise(point, x))


@pytest.mark.parametrize('height', [1, 2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize('rows', [1, 2, 3, 8])
@torch.no_grad()
def test_strips_give_what_the_whole_gives_and_project_each_row_once(height, rows, monkeypatch):
    torch.manual_seed(0)
    width, hidden = 5, 6
    monkeypatch.setattr(pixelwise, 'STRIP_ELEMENTS', rows * width * hidden)
    x = torch.randn(2, height, width, 4)
    point, depth = nn.Conv2d(4, hidden, 1), nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
    projected = []

    def project(pixels, out):
        projected.append(len(pixels))
        project_into(point, pixels, out)

    result = torch.full((2, height, width, hidden), float('nan'))
    tall = 0
    for number, place, out in convolved_strips(x, project, depth):
        tall = max(tall, place.stop - place.start)
        result[number, place] = out
    torch.testing.assert_close(result, depthwise(depth, pointwise(point, x)))
    assert sum(projected) == 2 * height * width
    assert tall == min(max(rows, 2), height)


def test_strips_are_for_large_features_without_gradients():
    small, large = torch.empty(1, 1024, 512, 4), torch.empty(1, 1025, 512, 4)
    with torch.no_grad():
        assert not works_in_strips(small, 1) and works_in_strips(large, 1) and works_in_strips(small, 2)
        assert not works_in_strips(large.to('meta'), 1)
        with torch.autocast('cpu', torch.bfloat16):
            assert not works_in_strips(large, 1)
    assert not works_in_strips(large, 1)
