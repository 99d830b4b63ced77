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
    outputs = [expert(feature) for expert, feature in zip(psf.experts, features)]
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
    first, second = (expert(feature) for expert, feature in zip(psf.experts, features))
    second = F.interpolate(second, size=(8, 8), mode='bilinear', align_corners=False)
    expected = sum(x * score.view(-1, 1, 1, 1) for x, score in zip((first, second), scores.unbind(1)))
    torch.testing.assert_close(fused, expected)
    pooled = torch.cat([first.mean((-2, -1)), second.mean((-2, -1))], dim=1)
    torch.testing.assert_close(scores, psf.gate(pooled).softmax(1))


def test_large_channels_of_an_encoder_do_not_drown_the_rest():
    torch.manual_seed(0)
    psf = PixelSemanticFusion([4, 6], dim=8)
    features = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 8, 8)]
    for one, other in zip(psf([50 * feature for feature in features]), psf(features)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
