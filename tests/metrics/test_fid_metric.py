"""FID against torchmetrics; a network of random weights."""

import logging

import numpy as np
import pytest
import torch
from basicsr.utils import get_root_logger
from torchmetrics.image.fid import FrechetInceptionDistance

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.metrics import fid_metric
from dinoir_plugin.metrics.fid_metric import calculate_fid
from tests.metrics.random_weights import INCEPTION


@pytest.fixture
def fid(weights):
    return calculate_fid(feature=64, weights=str(weights / INCEPTION))


def test_figure_is_that_of_torchmetrics_with_the_reference_resizing(fid, weights, photos):
    theirs = FrechetInceptionDistance(
        feature=64, antialias=False, feature_extractor_weights_path=str(weights / INCEPTION)
    )
    kept = []
    # photographs of two sizes
    pairs = [(copy[side:], clean[side:]) for clean, *copies in photos for copy in copies for side in (0, 9)]
    for restored, target in pairs:
        kept.append(fid.keep(restored, target))
        for image, real in ((restored, False), (target, True)):
            theirs.update(torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None], real=real)
    assert fid.of(kept) == pytest.approx(theirs.compute().item(), rel=1e-4)
    assert fid.of([pair[[1, 1]] for pair in kept]) < 1e-9
    assert calculate_fid(feature=64, weights=str(weights / INCEPTION)).network is fid.network


def test_few_images_are_warned_of_once_and_one_has_no_figure(fid, photos):
    fid_metric._warn.cache_clear()
    records, handler = [], logging.Handler()
    handler.emit = records.append
    get_root_logger().addHandler(handler)
    kept = [fid.keep(copy, clean) for clean, *copies in photos for copy in copies]
    assert np.isnan(fid.of(kept[:1])) and fid.of(kept) > 0
    get_root_logger().removeHandler(handler)
    assert ['no more images than FID has features (64)' in record.getMessage() for record in records] == [True]


class Runs:
    """What would run if the file were unpickled without care."""

    def __reduce__(self):
        return exec, ("raise SystemExit('run')",)


def test_weights_that_cannot_be_had_are_named(weights, tmp_path, monkeypatch):
    def refusal(**options):
        with pytest.raises(OptionsError) as caught:
            calculate_fid(**options)
        return str(caught.value)

    assert refusal(feature=100) == 'feature: expected one of 64, 192, 768, 2048, got 100.'
    missing = refusal(weights=str(tmp_path / 'no.pth'))
    assert missing.startswith(f"weights: expected weights in '{tmp_path / 'no.pth'}', which is not there. Fetch https")
    torch.save(Runs(), tmp_path / 'code.pth')
    assert 'cannot be read (not a file of tensors written by torch.save)' in refusal(weights=str(tmp_path / 'code.pth'))
    other = refusal(weights=str(weights / 'alexnet-owt-7be5be79.pth'))
    assert "alexnet-owt-7be5be79.pth' does not hold the weights of this metric's network" in other
    # no file and no network
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')
    place = tmp_path / 'hub' / 'checkpoints' / INCEPTION
    assert f"'{place}', which is not there and cannot be downloaded (<urlopen error" in refusal(feature=192)
