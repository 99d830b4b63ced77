"""Say before the first training what all of them need, and ask for nothing that they write themselves."""

import pytest

from dinoir_plugin.experiments import beforehand, runs
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.variants import Experiments

pytestmark = pytest.mark.usefixtures('folder')


def test_all_that_is_missing_is_said_with_the_trainings_that_need_it(experiments, monkeypatch):
    todo = runs.jobs(experiments, 'table3', 'tiny', 1, None)
    with pytest.raises(RunError, match=r'^tiny_restormer_seed0 and 3 more cannot be trained: datasets.train.*$'):
        beforehand.check(todo)
    monkeypatch.setattr(beforehand, 'check_dataset', lambda *_: None)
    for job in todo:
        job.training['network_g'].get('encoder', {})['weights'] = 'nowhere.pth'
    lacking = r'^tiny_psf_seed0 and 1 more cannot be trained: network_g.encoder.weights: .*\nWeights that .*$'
    with pytest.raises(RunError, match=lacking):
        beforehand.check(todo)
    for job in todo:
        job.checkpoint.parent.mkdir(parents=True)
        job.checkpoint.touch()
    beforehand.check(todo)


def test_what_a_training_before_writes_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(beforehand, 'check_dataset', lambda *_: None)
    todo = runs.jobs(Experiments('perceive_ir'), 'perceive3', 'tiny', 1, None)
    beforehand.check(todo)
    with pytest.raises(RunError, match=r'^tiny_perceive3_seed0 cannot be trained: train.clip_opt.prompts: .*missing'):
        beforehand.check([job for job in todo if job.run != 'perceive_prompts'])
