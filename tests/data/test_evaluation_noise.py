"""Noise of the authors' evaluations: the very numbers, whatever image is asked for first."""

import numpy as np
import pytest
import torch
from skimage.io import imsave

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset


@pytest.fixture
def photos(tmp_path):
    """Four images, of which 32x16 pixels are left, lying and standing."""
    rng, found = np.random.default_rng(0), {}
    for number in range(4):
        found[f'{number}'] = rng.integers(0, 256, (37, 21, 3) if number % 2 else (20, 47, 3), np.uint8)
        imsave(tmp_path / f'{number}.png', found[f'{number}'], check_contrast=False)
    return tmp_path, [image[2:34, 2:18] if image.shape[0] == 37 else image[2:18, 7:39] for image in found.values()]


def data_set(folder, phase='test', **options):
    tasks = {'denoise': {'dataroot_gt': str(folder), 'crop_multiple': 16, 'degradation': options}}
    return MixedDegradationDataset({'phase': phase, 'tasks': tasks, 'gt_size': 16})


def levels(item, key):
    return (item[key].numpy().transpose(1, 2, 0) * 255).round(3)


def test_numpys_numbers_run_over_the_images_and_on_with_the_next_sigma(photos):
    folder, cropped = photos
    numbers = np.random.RandomState(0)
    for sigma in (15, 25, 50):
        expected = [
            np.clip(image + numbers.randn(*image.shape) * sigma, 0, 255).astype(np.uint8) for image in cropped
        ]
        dataset = data_set(folder, type='evaluation_noise', sigma=sigma)
        for number in (2, 0, 1, 3, 2):
            item = dataset[number]
            np.testing.assert_array_equal(levels(item, 'gt'), cropped[number])
            np.testing.assert_array_equal(levels(item, 'lq'), expected[number])


def test_torchs_numbers_are_of_one_seed_an_image_and_the_same_for_every_sigma(photos):
    folder, cropped = photos
    for sigma in (25, 30):
        dataset = data_set(folder, type='evaluation_noise', sigma=sigma, generator='torch')
        for number, image in enumerate(cropped):
            clean = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3407 + number))
            expected = (clean + noise * sigma).clamp(0, 255).to(torch.uint8)
            np.testing.assert_array_equal(levels(dataset[number], 'lq').transpose(2, 0, 1), expected)


def test_pairs_are_cropped_alike_and_what_is_too_small_is_named(photos):
    folder, cropped = photos
    pairs = {'x': {'dataroot_gt': str(folder), 'dataroot_lq': str(folder), 'crop_multiple': 16}}
    item = MixedDegradationDataset({'phase': 'test', 'tasks': pairs})[1]
    for key in ('lq', 'gt'):
        np.testing.assert_array_equal(levels(item, key), cropped[1])
    small = {'x': {**pairs['x'], 'crop_multiple': 32}}
    with pytest.raises(ValueError, match=r'0\.png: expected sides of at least 32 pixels, got 47x20; set crop_multiple'):
        MixedDegradationDataset({'phase': 'test', 'tasks': small})[0]


def test_it_is_not_for_training(photos):
    with pytest.raises(ValueError, match='train with gaussian_noise'):
        data_set(photos[0], 'train', type='evaluation_noise', sigma=15)[0]
    with pytest.raises(OptionsError, match=r'tasks\.denoise\.degradation\.sigma: expected 15, 25 or 50'):
        data_set(photos[0], type='evaluation_noise', sigma=20)
