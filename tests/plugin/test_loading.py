"""Loading training images in the plugin's runs: seeds of workers, and batches that a data set composes."""

import pickle
import random
from functools import partial

import basicsr
import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from dinoir_plugin.plugin import data_loader, worker_seed

pytestmark = pytest.mark.usefixtures('our_run')


class Draws(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.random.randint(2**31), random.getrandbits(31)


class Composing(Draws):
    def batch_sampler(self, sampler, batch_multiplier=1):
        return BatchSampler(sampler, 3 * batch_multiplier, drop_last=False)


OPT = {'phase': 'train', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 1}


def epochs():
    torch.manual_seed(5)
    loader = basicsr.data.build_dataloader(Draws(), OPT, num_gpu=0, sampler=range(4), seed=5)
    return [[value for batch in loader for pair in batch for value in pair.tolist()] for _ in range(2)]


def test_workers_draw_anew_each_epoch_and_the_same_in_each_run():
    first, second = epochs()
    assert not set(first) & set(second)
    assert [first, second] == epochs()
    assert len(set(first)) == len(first)


def test_worker_init_can_be_pickled_for_spawned_workers():
    init = partial(basicsr.data.worker_init_fn, num_workers=1, rank=0, seed=1)
    assert pickle.loads(pickle.dumps(init)).func is worker_seed.worker_init_fn


def test_composed_batches():
    loader = basicsr.data.build_dataloader(Composing(), OPT, num_gpu=0, sampler=range(4), seed=5)
    assert [len(batch[0]) for batch in loader] == [3, 1]
    assert loader.num_workers == 1
    arguments = data_loader.loader_arguments(Composing(), OPT, 2, False, range(4), None)
    assert (arguments['num_workers'], arguments['batch_sampler'].batch_size) == (2, 6)
    assert arguments['worker_init_fn'].keywords == {'seed': None}

    cpu = basicsr.data.build_dataloader(Composing(), {**OPT, 'prefetch_mode': 'cpu'}, sampler=range(4), seed=5)
    assert type(cpu).__name__ == 'PrefetchDataLoader'
    assert [len(batch[0]) for batch in cpu] == [3, 1]


def test_other_loaders_are_the_hosts():
    assert basicsr.data.build_dataloader(Draws(), OPT, sampler=range(4), seed=5).batch_size == 2
    val = basicsr.data.build_dataloader(Composing(), {'phase': 'val'})
    assert isinstance(val, DataLoader)
    assert val.batch_size == 1
