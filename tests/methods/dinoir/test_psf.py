import pytest
import torch
from torch.nn import functional as F

from dinoir_plugin.methods.dinoir.psf import PixelSemanticFusion


def test_output_is_the_sum_of_the_experts_weighted_by_the_scores():
    torch.manual_seed(0)
    psf = PixelSemanticFusion([12, 12, 12], dim=8)
    features = [torch.randn(2, 12, 5, 7) for _ in range(3)]
    fused, scores = psf(features)
    assert fused.shape == (2, 8, 5, 7)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))
    outputs = [expert(norm(feature)) for expert, norm, feature in zip(psf.experts, psf.norms, features)]
    expected = sum(x * score.view(-1, 1, 1, 1) for x, score in zip(outputs, scores.unbind(1)))
    torch.testing.assert_close(fused, expected)


def test_scores_belong_to_each_image_and_learn():
    torch.manual_seed(0)
    psf = PixelSemanticFusion([12, 12, 12], dim=8)
    features = [torch.randn(2, 12, 5, 7) * scale for scale in (1, 2, 3)]
    together, scores = psf(features)
    alone, score = psf([f[1:] for f in features])
    torch.testing.assert_close(alone, together[1:])
    torch.testing.assert_close(score, scores[1:])
    scores[:, 0].sum().backward()
    assert all(p.grad is not None for p in psf.gate.parameters())


def test_levels_of_other_width_and_grid_are_resized_to_the_first():
    torch.manual_seed(0)
    psf = PixelSemanticFusion([4, 6], dim=8)
    features = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)]
    fused, scores = psf(features)
    normed = [norm(feature) for norm, feature in zip(psf.norms, features)]
    first, second = (expert(feature) for expert, feature in zip(psf.experts, normed))
    second = F.interpolate(second, size=(8, 8), mode='bilinear', align_corners=False)
    expected = sum(x * score.view(-1, 1, 1, 1) for x, score in zip((first, second), scores.unbind(1)))
    torch.testing.assert_close(fused, expected)
    # the gate looks at the concatenation of the features (eq. 1-2), not at what the experts give
    pooled = torch.cat([feature.mean((-2, -1)) for feature in normed], dim=1)
    torch.testing.assert_close(scores, psf.gate(pooled).softmax(1))


def test_large_channels_of_an_encoder_do_not_drown_the_rest():
    torch.manual_seed(0)
    psf = PixelSemanticFusion([4, 6], dim=8)
    features = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 8, 8)]
    for one, other in zip(psf([50 * feature for feature in features]), psf(features)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_place_of_the_guide_does_not_depend_on_the_images_size():
    """Each token is normalised by itself; experts see one place to each side, and the gate the mean."""
    torch.manual_seed(0)
    psf = PixelSemanticFusion([4, 6], dim=8)
    features = [torch.randn(1, 4, 6, 6), torch.randn(1, 6, 6, 6)]
    fused, scores = psf(features)
    larger = [feature.repeat(1, 1, 2, 2) for feature in features]
    fused_larger, scores_larger = psf(larger)
    torch.testing.assert_close(scores_larger, scores)
    torch.testing.assert_close(fused_larger[..., 1:5, 1:5], fused[..., 1:5, 1:5])


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_gradients_reach_everything_in_both_layouts(layout):
    """torch 2.11 crashes in the backward pass of a group norm on channels_last features on the CPU."""
    psf = PixelSemanticFusion([80, 6], dim=8)
    features = [torch.randn(1, 80, 6, 6), torch.randn(1, 6, 6, 6)]
    psf([feature.to(memory_format=layout) for feature in features])[0].square().sum().backward()
    assert not [name for name, p in psf.named_parameters() if p.grad is None or not p.grad.abs().sum()]
