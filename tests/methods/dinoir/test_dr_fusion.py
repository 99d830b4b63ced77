import pytest
import torch

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.guidance.condition import Condition
from dinoir_plugin.methods.dinoir.dr_fusion import DRFusion
from dinoir_plugin.testing.textbook.dr_fusion import direct_attention, direct_dr_fusion

SHAPES = [((5, 7), (16, 24)), ((9, 9), (8, 8)), ((4, 4), (4, 4)), ((1, 1), (12, 8))]


def make(attention, channels=12, guide_channels=10):
    torch.manual_seed(0)
    fusion = DRFusion(channels, guide_channels, attention).double()
    if attention == 'cosine':
        fusion.temperature.data.fill_(3.0)
    return fusion


def matrix_of(fusion, feature, guide):
    return fusion.attention_matrix(feature, Condition({'guide': guide}))


@pytest.mark.parametrize('attention', ['cosine', 'sqrt_channels'])
@pytest.mark.parametrize(('coarse', 'fine'), SHAPES)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_equals_the_direct_form_in_values_and_gradients(attention, coarse, fine, dtype):
    if coarse == (1, 1) and dtype is torch.float32:
        pytest.skip('the cosine of one pixel does not depend on its length: gradients of zero, nothing but rounding')
    fusion = make(attention).to(dtype)
    tolerance = 1e-10 if dtype is torch.float64 else 1e-5
    # a small scale keeps the literal form, whose logits grow with the size, away from a one-hot softmax
    inputs = [torch.randn(2, 12, *fine, dtype=dtype) * 0.3, torch.randn(2, 10, *coarse, dtype=dtype) * 0.3]
    results = []
    for form in (fusion, lambda feature, guide: direct_dr_fusion(fusion, feature, guide)):
        leaves = [x.clone().requires_grad_() for x in inputs]
        fusion.zero_grad()
        output = form(*leaves)
        output.square().sum().backward()
        gradients = [x.grad for x in leaves] + [p.grad.clone() for p in fusion.parameters()]
        results.append([output.detach(), *gradients])
    for fast, direct in zip(*results):
        assert (fast - direct).norm() <= tolerance * direct.norm().clamp_min(1e-3)


def test_cosine_attention_does_not_depend_on_the_size():
    fusion = make('cosine')
    feature, guide = torch.randn(1, 12, 6, 8).double(), torch.randn(1, 10, 6, 8).double()
    small = matrix_of(fusion, feature, guide)
    large = matrix_of(fusion, feature.repeat(1, 1, 2, 2), guide.repeat(1, 1, 2, 2))
    torch.testing.assert_close(large, small, rtol=0, atol=1e-12)


def test_literal_attention_grows_with_the_size_as_its_docstring_says():
    fusion = make('sqrt_channels')
    feature, guide = torch.randn(1, 12, 6, 8).double(), torch.randn(1, 10, 6, 8).double()
    small = matrix_of(fusion, feature, guide)
    large = matrix_of(fusion, feature.repeat(1, 1, 2, 2), guide.repeat(1, 1, 2, 2))
    assert (large - small).abs().max() > 1e-3


def test_rows_sum_to_one_and_follow_the_restoration_channels():
    fusion = make('cosine')
    feature, guide = torch.randn(2, 12, 16, 16).double(), torch.randn(2, 10, 5, 5).double()
    matrix = matrix_of(fusion, feature, guide)
    torch.testing.assert_close(matrix.sum(-1), torch.ones(2, 12).double())
    torch.testing.assert_close(matrix, direct_attention(fusion, feature, guide))


def test_a_black_feature_gives_finite_gradients():
    fusion = make('cosine').float()
    feature = torch.zeros(1, 12, 8, 8, requires_grad=True)
    fusion(feature, torch.randn(1, 10, 3, 3)).sum().backward()
    assert torch.isfinite(feature.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters())


def test_statistics_of_windows_are_those_of_parts_of_the_image():
    fusion = make('cosine')
    feature, guide = torch.randn(1, 12, 16, 24).double(), torch.randn(1, 10, 8, 12).double()
    whole = fusion(feature, guide)
    fusion.window_share = (1.0, 1.0)
    torch.testing.assert_close(fusion(feature, guide), whole)
    fusion.window_share = (0.5, 0.5)
    parts = fusion(feature, guide)
    assert parts.shape == whole.shape and not torch.allclose(parts, whole)


def test_layout_does_not_matter():
    fusion = make('cosine')
    feature, guide = torch.randn(2, 12, 16, 24).double(), torch.randn(2, 10, 5, 7).double()
    nhwc = fusion(feature.to(memory_format=torch.channels_last), guide)
    torch.testing.assert_close(nhwc, fusion(feature, guide))
    assert nhwc.is_contiguous(memory_format=torch.channels_last)




@pytest.mark.parametrize('attention', ['cosine', 'sqrt_channels'])
def test_guidance_that_starts_at_zero_lets_the_feature_through_and_learns(attention):
    torch.manual_seed(0)
    fusion = DRFusion(12, 10, attention, zero_start=True).double()
    feature, guide = torch.randn(2, 12, 16, 24).double(), torch.randn(2, 10, 5, 7).double()
    torch.testing.assert_close(fusion(feature, guide), feature, rtol=0, atol=0)
    fusion(feature, guide).square().sum().backward()
    assert fusion.strength.grad.abs().min() > 0
    fusion.strength.data.fill_(0.5)
    torch.testing.assert_close(fusion(feature, guide), direct_dr_fusion(fusion, feature, guide))


def test_unknown_attention_names_the_valid_ones():
    with pytest.raises(OptionsError, match='sqrt_channels'):
        DRFusion(8, 8, 'sqrt_chanels')


@pytest.mark.parametrize('attention', ['cosine', 'sqrt_channels'])
def test_half_precision_holds_sums_over_a_million_pixels(attention):
    """The literal logits grow with H * W, and overflow in half precision unless they are summed in float32."""
    fusion = make(attention, channels=4, guide_channels=6)
    feature = (3 * torch.randn(1, 4, 1024, 1024)).contiguous(memory_format=torch.channels_last)
    guide = torch.randn(1, 6, 74, 74)
    with torch.no_grad():
        exact = fusion(feature.double(), guide.double())
        fusion.float()
        for dtype, tolerance in ((torch.float16, 0.005), (torch.bfloat16, 0.03)):
            with torch.autocast('cpu', dtype):
                half = fusion(feature.to(dtype), guide.to(dtype))
            assert half.dtype == dtype
            assert float((half.double() - exact).abs().max() / exact.abs().max()) < tolerance
