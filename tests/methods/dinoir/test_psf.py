import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.methods.dinoir.psf import FORMS, PixelSemanticFusion


def make(widths, form, dim=8):
    torch.manual_seed(0)
    return PixelSemanticFusion(widths, dim=dim, form=form)


def by_hand(psf, features):
    """What the experts give, and what the gate sees, level by level."""
    normed = [norm(feature) for norm, feature in zip(psf.norms, features)] if psf.literal else features
    outputs = [expert(feature) for expert, feature in zip(psf.experts, normed)]
    grid = outputs[0].shape[-2:]
    outputs = [F.interpolate(x, size=grid, mode='bilinear', align_corners=False) for x in outputs]
    seen = normed if psf.literal else outputs
    return outputs, torch.cat([feature.mean((-2, -1)) for feature in seen], dim=1)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('grids', [(5, 5, 5), (8, 4, 2)])
def test_output_is_the_sum_of_the_experts_weighted_by_the_gates_scores(form, grids):
    psf = make([12, 6, 9], form)
    features = [torch.randn(2, width, grid, grid) for width, grid in zip((12, 6, 9), grids)]
    fused, scores = psf(features)
    outputs, seen = by_hand(psf, features)
    torch.testing.assert_close(scores, psf.gate(seen).softmax(1))
    expected = sum(x * score.view(-1, 1, 1, 1) for x, score in zip(outputs, scores.unbind(1)))
    torch.testing.assert_close(fused, expected)
    assert fused.shape == (2, 8, grids[0], grids[0])


@pytest.mark.parametrize('form', FORMS)
def test_scores_belong_to_each_image_and_learn(form):
    psf = make([12, 12, 12], form)
    features = [torch.randn(2, 12, 5, 7) * scale for scale in (1, 2, 3)]
    together, scores = psf(features)
    alone, score = psf([f[1:] for f in features])
    torch.testing.assert_close(alone, together[1:])
    torch.testing.assert_close(score, scores[1:])
    scores[:, 0].sum().backward()
    assert all(p.grad is not None for p in psf.gate.parameters())


@pytest.mark.parametrize('form', FORMS)
def test_large_features_of_an_encoder_do_not_drown_the_rest(form):
    psf = make([4, 6], form)
    features = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 8, 8)]
    for one, other in zip(psf([50 * feature for feature in features]), psf(features)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_place_of_the_literal_guide_does_not_depend_on_the_rest_of_the_image():
    """Each token is normalised by itself, and an expert looks one place to each side."""
    psf = make([4, 6], 'literal')
    features = [torch.randn(1, 4, 6, 12), torch.randn(1, 6, 6, 12)]
    part = [feature[..., :6] for feature in features]
    (whole, _), (half, _) = psf(features), psf(part)
    experts = by_hand(psf, features)[0], by_hand(psf, part)[0]
    for large, small in zip(*experts):
        torch.testing.assert_close(large[..., :5], small[..., :5])
    assert whole.shape[-1] == 2 * half.shape[-1]
    again, scores = psf([feature.repeat(1, 1, 2, 2) for feature in features])
    torch.testing.assert_close(scores, psf(features)[1])
    torch.testing.assert_close(again[..., 1:5, 1:11], whole[..., 1:5, 1:11])


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('form', ['literal', 'experts'])
def test_gradients_reach_all_of_it_in_both_layouts(form, layout):
    """torch 2.11 crashes in the backward pass of a group norm of channels_last features on the CPU."""
    psf = make([80, 6], form)
    for side in (6, 1):
        features = [torch.randn(1, channels, side, side) for channels in (80, 6)]
        psf([feature.to(memory_format=layout) for feature in features])[0].square().sum().backward()
    assert not [name for name, p in psf.named_parameters() if p.grad is None or not p.grad.abs().sum()]


def test_other_forms_are_refused():
    with pytest.raises(OptionsError, match="did you mean 'literal'"):
        PixelSemanticFusion([4], form='litral')
