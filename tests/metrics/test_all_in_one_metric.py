"""Both conventions against independent sums, and against each other where they must agree."""

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from scipy.ndimage import uniform_filter
from skimage import data
from skimage.metrics import structural_similarity

PSNR, SSIM = 'calculate_psnr_all_in_one', 'calculate_ssim_all_in_one'


@pytest.fixture(scope='module')
def pair():
    """A photograph of 103x151 and a worse one, float RGB, on the levels of 8 bits."""
    clean = data.astronaut()[:103, :151]
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
    return noisy / np.float32(255), clean / np.float32(255)


def measure(kind, img, img2, **options):
    return calculate_metric({'img': img, 'img2': img2}, {'type': kind, **options})


def as_basicsr(image):
    return np.rint(image[..., ::-1] * 255).astype(np.uint8)


def test_psnr_is_that_of_basicsr_where_nothing_is_cropped_or_rounded(pair):
    theirs = measure('calculate_psnr', *map(as_basicsr, pair), crop_border=0)
    assert measure(PSNR, *pair, crop_multiple=1) == pytest.approx(theirs, abs=1e-4)
    # not rounded to 8 bits: a tenth of a level counts here and not there
    shifted = np.clip(pair[0] + np.float32(0.1 / 255), 0, 1)
    assert measure('calculate_psnr', *map(as_basicsr, (shifted, pair[1])), crop_border=0) == pytest.approx(theirs)
    assert abs(measure(PSNR, shifted, pair[1], crop_multiple=1) - theirs) > 1e-4


def test_images_of_8_bits_as_basicsr_hands_them_over_give_the_figures_of_their_floats(pair):
    given = [as_basicsr(image) for image in pair]
    for kind in (PSNR, SSIM):
        assert measure(kind, *given, better='higher') == pytest.approx(measure(kind, *pair), rel=1e-6)
        assert type(measure(kind, *given)) is float


def test_images_are_cropped_about_the_centre_to_multiples_of_16(pair):
    inside = [image[3:99, 3:147] for image in pair]
    for kind in (PSNR, SSIM):
        assert measure(kind, *pair) == measure(kind, *inside, crop_multiple=1)
        assert measure(kind, *pair) != measure(kind, *pair, crop_multiple=1)


def test_ssim_is_the_formula_with_uniform_windows_of_7(pair):
    """Wang et al., eq. 13, with the unbiased variances of scikit-image's default, summed here by themselves."""
    values = []
    for x, y in zip(*(np.moveaxis(image.astype(np.float64), -1, 0) for image in pair)):
        mean_x, mean_y = uniform_filter(x, 7), uniform_filter(y, 7)
        unbiased = 49 / 48
        var_x = unbiased * (uniform_filter(x * x, 7) - mean_x**2)
        var_y = unbiased * (uniform_filter(y * y, 7) - mean_y**2)
        covariance = unbiased * (uniform_filter(x * y, 7) - mean_x * mean_y)
        c1, c2 = 0.01**2, 0.03**2
        numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        denominator = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        values.append((numerator / denominator)[3:-3, 3:-3].mean())
    assert measure(SSIM, *pair, crop_multiple=1) == pytest.approx(np.mean(values), abs=1e-5)


def test_ssim_of_basicsr_is_the_gaussian_one_and_another_figure(pair):
    theirs = measure('calculate_ssim', *map(as_basicsr, pair), crop_border=0)
    gaussian = structural_similarity(
        *pair, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert theirs == pytest.approx(gaussian, abs=2e-3)
    assert abs(theirs - measure(SSIM, *pair, crop_multiple=1)) > 5e-3


def test_equal_images_are_perfect(pair):
    assert measure(PSNR, pair[1], pair[1]) == float('inf')
    assert measure(SSIM, pair[1], pair[1]) == 1


@pytest.mark.parametrize(
    ('img', 'img2', 'message'),
    [
        (np.zeros((32, 32, 3), np.int64), np.zeros((32, 32, 3), np.int64), '8 bits, BGR, or of floats, RGB'),
        (np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8), '8 bits, BGR, or of floats, RGB'),
        (np.zeros((32, 32, 3), np.float32), np.zeros((32, 33, 3), np.float32), 'one size'),
        (np.zeros((15, 32, 3), np.float32), np.zeros((15, 32, 3), np.float32), 'at least 16 pixels'),
    ],
)
def test_other_images_are_refused(img, img2, message):
    for kind in (PSNR, SSIM):
        with pytest.raises(ValueError, match=message):
            measure(kind, img, img2)
