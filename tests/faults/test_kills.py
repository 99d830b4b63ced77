"""A run that is killed and continued ends as the one that never was, to the last bit."""

import pytest

from dinoir_plugin.testing.trials import LAUNCHER, TORCHRUN, interrupted, prepare

TWO_RANKS = {'command': TORCHRUN}


@pytest.mark.parametrize(
    ('suffix', 'workers', 'enlarge', 'more', 'start', 'kills', 'iterations'),
    # two ranks: a long epoch, because with a launcher BasicSR spawns its workers anew at each, which takes seconds
    [('', 0, 1, (), {}, 3, 24), ('.lmdb', 4, 1, (), {}, 1, 24), ('', 1, 20, LAUNCHER, TWO_RANKS, 1, 9)],
    ids=['folders', 'lmdb-4-workers', 'two-ranks'],
)
def test_killed_runs_end_as_if_never_stopped(make_project, suffix, workers, enlarge, more, start, kills, iterations):
    project = prepare(make_project(suffix), iterations)
    project.data.update(num_worker_per_gpu=workers, dataset_enlarge_ratio=enlarge)
    project.add_validation(val_freq=4, save_img=False)
    outcome = interrupted(project, kills, workers, more, **start)
    assert outcome.survived, outcome.said
