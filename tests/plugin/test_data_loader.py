"""What our training sets' loaders are built with."""

import basicsr  # noqa: F401 - the package's own parts of BasicSR are put in on its import
import pytest

from dinoir_plugin.plugin.data_loader import loader_arguments


class Composing:
    """Composes its batches itself."""

    def batch_sampler(self, sampler, batch_multiplier):
        return [[0] * 3 * batch_multiplier]


@pytest.mark.parametrize(
    ('gpus', 'launcher', 'batch', 'workers'), [(4, True, 3, 1), (4, False, 12, 4), (0, False, 3, 1), (1, False, 3, 1)]
)
def test_one_process_feeds_all_gpus_but_only_its_own_under_a_launcher(gpus, launcher, batch, workers):
    arguments = loader_arguments(Composing(), {'num_worker_per_gpu': 1}, gpus, launcher, None, seed=5)
    assert len(next(iter(arguments['batch_sampler']))) == batch
    assert arguments['num_workers'] == workers
    assert not arguments['pin_memory'] and not arguments['persistent_workers']
    assert arguments['generator'].initial_seed() == 5


def test_options_of_the_loader_reach_it():
    options = {'num_worker_per_gpu': 0, 'pin_memory': True, 'persistent_workers': True}
    arguments = loader_arguments(Composing(), options, 1, False, None, seed=None)
    assert arguments['pin_memory'] and arguments['persistent_workers'] and arguments['num_workers'] == 0
    assert arguments['generator'].initial_seed() == 0
