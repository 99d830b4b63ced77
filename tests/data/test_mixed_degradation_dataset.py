"""The data set: items, reproducibility, and what it says about wrong options."""

from __future__ import annotations

import pickle
from collections import Counter
from copy import deepcopy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from conftest_data import HEIGHT, WIDTH, write
from torch.utils.data import DataLoader

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset
from dinoir_plugin.data.sampling import Draw


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in ('lq', 'gt')) and first['task'] == second['task']


def test_basicsr_builds_it(options):
    from basicsr.data import build_dataset

    dataset = build_dataset(options())
    assert isinstance(dataset, MixedDegradationDataset)
    assert dataset.tasks == ['denoise', 'deblur', 'derain', 'dehaze']
    assert dataset.opt['name'] == 'all4'


def test_the_options_are_not_changed(options):
    opt = options()
    before = deepcopy(opt)
    list(MixedDegradationDataset(opt))
    assert opt == before


def test_training_items(options):
    dataset = MixedDegradationDataset(options())
    assert set(dataset[0]) == dataset.provides
    # Five images, three pairs and six hazy images in turn: the hazy ones need six rounds.
    assert len(dataset) == 24
    for number, item in enumerate(dataset):
        assert item['task'] == dataset.tasks[number % 4]
        for key in ('lq', 'gt'):
            assert item[key].shape == (3, 48, 48)
            assert item[key].dtype == torch.float32
            assert item[key].is_contiguous()
            assert 0 <= item[key].min() <= item[key].max() <= 1
        # Rain, here, only shows where the image is dark.
        assert item['task'] == 'derain' or 0.0005 < (item['lq'] - item['gt']).abs().mean() < 0.5
    hazy = [dataset[number]['lq_path'] for number in range(3, 24, 4)]
    assert len(set(hazy)) == 6


def test_a_second_patch_is_of_the_same_degraded_image(options, sets):
    """Clean images are ramps, so a pixel's values tell where it lies; the degradation is one addition an image."""
    ramp = np.stack(np.meshgrid(np.arange(120), np.arange(90)), axis=-1).astype(np.uint8)
    root = sets.root / 'ramps'
    write(root / 'ramp.png', np.dstack([ramp, np.zeros_like(ramp[..., :1])]))
    noise = {'type': 'gaussian_noise', 'sigma': [5, 50], 'quantise': 'none'}
    tasks = {'denoise': {'dataroot_gt': str(root), 'degradation': noise}}
    dataset = MixedDegradationDataset(options(tasks=tasks, gt_size=64, second_patch=True))
    levels = []
    for number in range(12):
        item = dataset[number]
        assert set(item) == dataset.provides | {'key'}
        assert item['key'].shape == item['lq'].shape and item['key'].is_contiguous()
        assert torch.equal(item['key'], dataset[number]['key'])
        # where there is no ramp there is the noise alone
        levels.append([item[key][2].std().item() for key in ('lq', 'key')])
        assert levels[-1][0] == pytest.approx(levels[-1][1], rel=0.06)
        places = [item[key][:2].flatten(1).mean(1) * 255 for key in ('lq', 'key')]
        assert (places[0] - places[1]).abs().max() < 60
    assert np.std([pair[0] for pair in levels]) > 0.02
    seen = torch.stack([dataset[number]['key'] - dataset[number]['lq'] for number in range(12)])
    assert seen.abs().amax((1, 2, 3)).min() > 0.05, 'crops and turns are drawn for each'


def test_the_second_patch_of_a_pair_comes_from_the_degraded_file(options):
    opt = options(second_patch=True)
    opt['tasks'] = {'derain': opt['tasks']['derain']}
    for item in (MixedDegradationDataset(opt)[number] for number in range(6)):
        # rain, here, lifts dark pixels to 40
        assert item['key'].min() * 255 >= 39.9
        torch.testing.assert_close(item['lq'], item['gt'].clamp(min=40 / 255))


def test_images_of_medium_quality_show_the_same_window(options, sets):
    opt = options(second_patch=True)
    # the rainy images again stand for half-restored ones
    opt['tasks'] = {'derain': {**opt['tasks']['derain'], 'dataroot_medium': sets.rain_lmdb}}
    for phase in ('train', 'val'):
        dataset = MixedDegradationDataset({**opt, 'phase': phase})
        for number in range(3):
            assert torch.equal(dataset[number]['medium'], dataset[number]['lq'])
            assert not torch.equal(dataset[number]['medium'], dataset[number]['gt'])
    opt['tasks']['derain']['dataroot_medium'] = sets.clear
    with pytest.raises(OptionsError, match=r'derain\.dataroot_medium: 3 images of .*rain have no partner in .*clear'):
        MixedDegradationDataset(opt)
    opt = options()
    opt['tasks']['derain']['dataroot_medium'] = sets.rain
    with pytest.raises(OptionsError, match=r'tasks\.denoise\.dataroot_medium: other tasks have half-restored images'):
        MixedDegradationDataset(opt)
    opt['tasks']['denoise']['dataroot_medium'] = sets.clean
    with pytest.raises(OptionsError, match=r'denoise\.dataroot_medium: this option has no effect without dataroot_lq'):
        MixedDegradationDataset(opt)


def test_without_training_there_is_no_second_patch(options):
    dataset = MixedDegradationDataset(options(second_patch=True, phase='val'))
    assert set(dataset[0]) == dataset.provides


def test_pairs_are_cut_and_turned_alike(options):
    dataset = MixedDegradationDataset(options())
    for number in range(2, 60, 4):
        item = dataset[number]
        torch.testing.assert_close(item['lq'], item['gt'].clamp(min=40 / 255))
    for number in range(3, 60, 4):
        item = dataset[number]
        hazy = torch.floor(torch.round(item['gt'] * 255) / 2) + 100
        torch.testing.assert_close(item['lq'] * 255, hazy, atol=1e-3, rtol=0)


def test_all_eight_turns_come_up_and_none_without_the_options(options, clean_images, tmp_path):
    square = np.ascontiguousarray(clean_images['coffee'][:60, :60])
    write(tmp_path / 'one' / 'coffee.png', square)
    # The only crop of this size is the image itself.
    opt = options(
        gt_size=60, tasks={'x': {'dataroot_gt': str(tmp_path / 'one'), 'degradation': {'type': 'haze', 'beta': 0}}}
    )

    def turns(**changes):
        dataset = MixedDegradationDataset({**opt, **changes})
        eight = [np.rot90(image, k) for image in (square, square[:, ::-1]) for k in range(4)]
        seen = Counter()
        for number in range(200):
            patch = np.rint(dataset[number]['gt'].numpy().transpose(1, 2, 0) * 255)
            seen[next(k for k, image in enumerate(eight) if np.array_equal(patch, image))] += 1
        return seen

    assert min(turns()[k] for k in range(8)) > 10
    assert turns(use_hflip=False, use_rot=False) == {0: 200}
    assert sorted(turns(use_rot=False)) == [0, 4]


@pytest.mark.parametrize(('border', 'padding'), [('mirror', 'reflect'), ('replicate', 'edge'), ('wrap', 'wrap')])
def test_a_blurred_patch_is_a_patch_of_the_blurred_image(options, clean_images, border, padding):
    opt = options(use_hflip=False, use_rot=False, gt_size=140)
    opt['tasks'] = {'deblur': opt['tasks']['deblur']}
    opt['tasks']['deblur']['degradation'].update(sigma=2.5, quantise='none', border=border)
    dataset = MixedDegradationDataset(opt)
    for number in range(20):
        item = dataset[number]
        image = clean_images[item['gt_path'].split('/')[-1][:-4]].astype(np.float32) / 255
        padded = np.pad(image, ((7, 7), (7, 7), (0, 0)), mode=padding)
        blurred = cv2.GaussianBlur(padded, (15, 15), 2.5)[7:-7, 7:-7]
        patch = item['gt'].numpy().transpose(1, 2, 0)
        places = cv2.matchTemplate(image, np.ascontiguousarray(patch), cv2.TM_SQDIFF)
        top, left = np.unravel_index(np.argmin(places), places.shape)
        expected = blurred[top:top + 140, left:left + 140]
        np.testing.assert_allclose(item['lq'].numpy().transpose(1, 2, 0), expected, atol=2e-6)


def test_passes_differ_but_show_every_image(options):
    dataset = MixedDegradationDataset(options())
    denoise = [dataset[number] for number in range(0, 40, 4)]
    assert {item['gt_path'] for item in denoise[:5]} == {item['gt_path'] for item in denoise[5:]}
    assert not any(torch.equal(first['gt'], second['gt']) for first in denoise[:5] for second in denoise[5:])
    assert not same(dataset[0], MixedDegradationDataset(options(seed=8))[0])
    assert not same(dataset[0], dataset[len(dataset)])


def test_folder_and_lmdb_give_the_same_samples(options):
    folder, lmdb = MixedDegradationDataset(options()), MixedDegradationDataset(options(lmdb=True))
    assert len(folder) == len(lmdb)
    assert all(same(folder[number], lmdb[number]) for number in range(48))
    folder, lmdb = (MixedDegradationDataset(options(lmdb=lmdb, phase='val')) for lmdb in (False, True))
    assert all(same(folder[number], lmdb[number]) for number in range(len(folder)))


def batches(dataset, workers, **kwargs):
    sampler = SimpleNamespace(num_replicas=1, rank=0, epoch=0)
    loader = DataLoader(dataset, batch_sampler=dataset.batch_sampler(sampler), num_workers=workers, **kwargs)
    result = []
    for epoch in range(2):
        sampler.epoch = epoch
        result += list(loader)
    return result


@pytest.mark.filterwarnings('ignore:This DataLoader will create')
@pytest.mark.parametrize(('workers', 'lmdb', 'context'), [(1, False, 'fork'), (4, True, 'fork'), (1, True, 'spawn')])
def test_workers_make_no_difference(options, workers, lmdb, context):
    stages = [{'iters': 8}, {'iters': 1, 'batch_size_per_gpu': 2, 'gt_size': 64}]
    alone = batches(MixedDegradationDataset(options(lmdb=lmdb, stages=stages)), 0)
    # In the parent the LMDBs are open by now, which is what a forked worker inherits in a real run.
    # Spawned workers take seconds to start, so they also stand for those that outlive an epoch.
    many = batches(
        MixedDegradationDataset(options(lmdb=lmdb, stages=stages)),
        workers,
        multiprocessing_context=context,
        persistent_workers=context == 'spawn',
    )
    assert len(alone) == len(many) == 12
    assert [len(batch['task']) for batch in alone] == [4] * 8 + [2] * 4
    assert [batch['gt'].shape[-1] for batch in alone] == [48] * 8 + [64] * 4
    for first, second in zip(alone, many):
        assert first['task'] == second['task']
        assert first['lq_path'] == second['lq_path']
        assert torch.equal(first['lq'], second['lq'])
        assert torch.equal(first['gt'], second['gt'])
    assert not torch.equal(alone[0]['gt'], alone[6]['gt'])


@pytest.mark.parametrize(('ratio', 'batch', 'world'), [(1, 4, 1), (1, 5, 1), (100, 5, 2), (2.5, 7, 3), (1, 100, 1)])
def test_epochs_have_the_length_that_the_trainer_reckons_with(options, ratio, batch, world):
    import math

    from basicsr.data.data_sampler import EnlargedSampler

    dataset = MixedDegradationDataset(options(dataset_enlarge_ratio=ratio, batch_size_per_gpu=batch))
    for rank in range(world):
        sampler = EnlargedSampler(dataset, world, rank, ratio)
        assert len(dataset.batch_sampler(sampler)) == math.ceil(len(dataset) * ratio / (batch * world))
        assert dataset.batch_sampler(sampler).batch(0) == [Draw(rank + world * place, 48) for place in range(batch)]


def test_validation_shows_whole_images_task_by_task(options, clean_images):
    dataset = MixedDegradationDataset(options(phase='val'))
    assert len(dataset) == 5 + 5 + 3 + 6
    items = list(dataset)
    assert [item['task'] for item in items] == ['denoise'] * 5 + ['deblur'] * 5 + ['derain'] * 3 + ['dehaze'] * 6
    for item, (name, image) in zip(items, clean_images.items()):
        assert item['gt_path'].endswith(f'{name}.png')
        np.testing.assert_array_equal(item['gt'].numpy().transpose(1, 2, 0), image.astype(np.float32) / 255)
        assert item['lq'].shape == (3, HEIGHT, WIDTH)
    assert same(items[0], dataset[0])
    with pytest.raises(IndexError):
        dataset[19]


def test_validation_noise_follows_the_file_name_alone(options, sets, clean_images, tmp_path):
    write(tmp_path / 'elsewhere' / 'coffee.png', clean_images['coffee'])
    task = {'degradation': {'type': 'gaussian_noise', 'sigma': 25}}
    here = MixedDegradationDataset(options(phase='val', tasks={'a': {'dataroot_gt': sets.clean, **task}}))
    there = MixedDegradationDataset(
        options(phase='test', tasks={'b': {'dataroot_gt': str(tmp_path / 'elsewhere'), **task}})
    )
    assert torch.equal(here[2]['lq'], there[0]['lq'])
    assert not torch.equal(here[1]['lq'] - here[1]['gt'], here[2]['lq'] - here[2]['gt'])


def test_validation_noise_is_another_with_another_seed(options, sets):
    task = {'dataroot_gt': sets.clean, 'degradation': {'type': 'gaussian_noise', 'sigma': 25}}
    first, again, other = (
        MixedDegradationDataset(options(phase='val', tasks={'a': task}, seed=seed))[0] for seed in (7, 7, 8)
    )
    assert same(first, again)
    assert torch.equal(first['gt'], other['gt']) and not torch.equal(first['lq'], other['lq'])


def test_without_a_seed_it_is_zero(options):
    unsaid = options()
    del unsaid['seed']
    assert same(MixedDegradationDataset(unsaid)[0], MixedDegradationDataset(options(seed=0))[0])


def test_synthetic_haze_uses_the_depth_of_the_patch(options, sets, clean_images, tmp_path):
    write(tmp_path / 'one' / 'motorcycle.png', clean_images['motorcycle'])
    task = {'dataroot_gt': str(tmp_path / 'one'), 'dataroot_depth': sets.depth, 'depth_kind': 'disparity',
            'degradation': {'type': 'haze', 'beta': 1.0, 'airlight': 1.0, 'quantise': 'none'}}
    whole = MixedDegradationDataset(options(phase='val', tasks={'haze': task}))[0]
    dataset = MixedDegradationDataset(options(tasks={'haze': task}, use_hflip=False, use_rot=False))
    for number in range(5):
        item = dataset[number]
        patch = np.ascontiguousarray(item['gt'].numpy().transpose(1, 2, 0))
        image = np.ascontiguousarray(whole['gt'].numpy().transpose(1, 2, 0))
        places = cv2.matchTemplate(image, patch, cv2.TM_SQDIFF)
        top, left = np.unravel_index(np.argmin(places), places.shape)
        torch.testing.assert_close(item['lq'], whole['lq'][:, top:top + 48, left:left + 48])
    del task['dataroot_depth'], task['depth_kind']
    invented = MixedDegradationDataset(options(tasks={'haze': task}))
    assert not torch.allclose(invented[0]['lq'], invented[0]['gt'], atol=0.02)


def test_degradations_in_a_list_come_in_order(options, sets):
    blur = {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': 3.0}
    noise = {'type': 'gaussian_noise', 'sigma': 25}

    def roughness(chain):
        opt = options(phase='val', tasks={'x': {'dataroot_gt': sets.clean, 'degradation': chain}})
        return MixedDegradationDataset(opt)[0]['lq'].diff(dim=2).std()

    assert roughness([blur, noise]) > 5 * roughness([noise, blur])


def test_meta_info_template_and_weight(options, sets, clean_images, tmp_path):
    for name, image in clean_images.items():
        write(tmp_path / 'lq' / f'{name}x2.png', image)
    meta = tmp_path / 'meta.txt'
    meta.write_text('rocket.png (150,200,3)\nchelsea.png (150,200,3)\n')
    task = {'dataroot_gt': sets.clean, 'dataroot_lq': str(tmp_path / 'lq'), 'filename_tmpl': '{}x2'}
    dataset = MixedDegradationDataset(options(phase='val', tasks={'x': {**task, 'meta_info_file': str(meta)}}))
    assert [item['lq_path'].split('/')[-1] for item in dataset] == ['chelseax2.png', 'rocketx2.png']
    assert len(MixedDegradationDataset(options(phase='val', tasks={'x': task}))) == 5
    mixed = MixedDegradationDataset(options(tasks={'x': {**task, 'weight': 3}, 'y': task}))
    assert Counter(mixed[number]['task'] for number in range(40)) == {'x': 30, 'y': 10}


def test_it_pickles_small_after_use(options):
    dataset = MixedDegradationDataset(options(lmdb=True))
    first = dataset[0]
    blob = pickle.dumps(dataset)
    assert len(blob) < 10_000
    assert same(pickle.loads(blob)[0], first)
