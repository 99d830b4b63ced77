"""What BasicSR's loaders read of a training set's options."""

import pytest

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.options import check_loader

GOOD = {'batch_size_per_gpu': 4, 'num_worker_per_gpu': 2, 'type': 'Anything', 'unknown': 3}


def test_what_a_loader_needs_is_enough():
    check_loader(GOOD, 'datasets.train')
    check_loader({**GOOD, 'prefetch_mode': 'cuda', 'pin_memory': True, 'persistent_workers': True}, 'datasets.train')


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'batch_size_per_gpu': None}, 'x.batch_size_per_gpu: this key is required, but missing'),
        ({'num_worker_per_gpu': None}, 'x.num_worker_per_gpu: this key is required, but missing'),
        ({'batch_size_per_gpu': 'four'}, "x.batch_size_per_gpu: expected a whole number of at least 1, got 'four'"),
        ({'prefetch_mode': 'cuda', 'pin_memory': False}, 'x.pin_memory: prefetch_mode: cuda needs pin_memory: true'),
        ({'num_worker_per_gpu': 0, 'persistent_workers': True}, 'x.persistent_workers: there are no workers'),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(changes, said):
    options = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(OptionsError) as caught:
        check_loader(options, 'x')
    assert str(caught.value).startswith(said)
