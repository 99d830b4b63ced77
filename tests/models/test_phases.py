"""Phases choose losses, what learns and the learning rate; a resumed run goes on in its phase."""

import copy

import pytest
import torch
from basicsr.models import build_model

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.models.phases import Phases
from tests.models.test_restoration_model import batch, options  # noqa: F401

PHASES = [
    {'iters': 2, 'losses': ['dpc'], 'train_only': ['method'], 'lr': 1.0e-2},
    {'iters': 2, 'losses': ['pixel'], 'lr': 1.0e-4},
]


def iterate(model, batch, iterations):  # noqa: F811
    """The log of each iteration, and which parts of the network it changed."""
    seen = []
    for iteration in iterations:
        before = {name: value.clone() for name, value in model.get_bare_model(model.net_g).state_dict().items()}
        model.feed_data(batch)
        model.update_learning_rate(iteration)
        model.optimize_parameters(iteration)
        after = model.get_bare_model(model.net_g).state_dict()
        changed = {name.split('.')[0] for name in before if not torch.equal(before[name], after[name])}
        names = {name for name in model.get_current_log() if name.startswith('l_')}
        seen.append((names, changed, model.get_current_learning_rate()[0]))
    return seen


def test_each_phase_has_its_losses_its_parameters_and_its_learning_rate(options, batch):  # noqa: F811
    options['train']['phases'] = PHASES
    seen = iterate(build_model(options), batch, range(1, 6))
    assert seen[:2] == [({'l_dpc'}, {'psf'}, 1e-2)] * 2
    # the last phase goes on to the end of the run
    assert seen[2:] == [({'l_pix'}, {'psf', 'backbone'}, 1e-4)] * 3


def test_a_resumed_run_goes_on_in_its_phase(options, batch, tmp_path):  # noqa: F811
    options['train']['phases'] = PHASES
    straight = build_model(copy.deepcopy(options))
    iterate(straight, batch, range(1, 4))
    straight.save(0, 3)
    state = torch.load(tmp_path / '3.state', weights_only=False)
    options['path']['pretrain_network_g'] = str(tmp_path / 'net_g_3.pth')
    resumed = build_model(copy.deepcopy(options))
    resumed.resume_training(state)
    assert iterate(straight, batch, (4, 5)) == iterate(resumed, batch, (4, 5))
    pairs = zip(straight.net_g.parameters(), resumed.net_g.parameters())
    assert all(torch.equal(a, b) for a, b in pairs)


def test_what_never_learns_stays_so_in_every_phase(options, batch):  # noqa: F811
    options['train']['phases'] = [{'iters': 1, 'train_only': ['backbone']}, {'iters': 1}]
    model = build_model(options)
    frozen = next(model.net_g.backbone.parameters()).requires_grad_(False)
    iterate(model, batch, (1, 2))
    assert not frozen.requires_grad
    assert all(p.requires_grad for p in model.net_g.method.parameters())


def test_unknown_parts_are_named(options, batch):  # noqa: F811
    for block, message in (
        ({'train_only': ['methd']}, r"train\.phases\[0\]\.train_only.*did you mean 'method'"),
        ({'losses': ['dcp']}, r"train\.phases\[0\]\.losses\[0\]: there is no loss 'dcp'.*'dpc'"),
        ({'lr': -1.0}, r'train\.phases\[0\]\.lr'),
    ):
        options['train']['phases'] = [{'iters': 1, **block}]
        with pytest.raises(OptionsError, match=message):
            build_model(copy.deepcopy(options))


def test_a_phase_says_in_which_stage_a_network_is_trained(options, batch):  # noqa: F811
    tiny = {'dim': 8, 'num_blocks': [0, 0, 0, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8]}
    options['network_g'] = {'type': 'IDR', **tiny, 'num_degra_queries': 4}
    options['train'] = {**options['train'], 'dpc_opt': None, 'optim_g': {'type': 'Adam', 'lr': 1e-3},
                        'levels_opt': {'type': 'IDRLevelLoss'}, 'types_opt': {'type': 'IDRTypeLoss'},
                        'phases': [{'iters': 1, 'stage': 1}, {'iters': 1, 'stage': 2, 'losses': ['pixel', 'levels']}]}
    first, second, _ = iterate(build_model(copy.deepcopy(options)), batch, (1, 2, 3))
    assert first[0] == {'l_pix', 'l_levels', 'l_types'} and second[0] == {'l_pix', 'l_levels'}
    # keys are learned, then mixed
    assert 'degra_key' in first[1] and 'dmixer' not in first[1] and 'dmixer' in second[1]

    for stage, kind, message in (
        (3, options['network_g'], r'train\.phases\[0\]\.stage: expected a number from 1 to 2, got 3'),
        (1, {'type': 'DnCNN', 'nb': 3}, r'train\.phases\[0\]\.stage: DnCNN is not trained in stages'),
    ):
        options['network_g'], options['train']['phases'] = kind, [{'iters': 1, 'stage': stage}]
        with pytest.raises(OptionsError, match=message):
            build_model(copy.deepcopy(options))


@pytest.mark.parametrize(('iteration', 'number', 'begins'), [(1, 0, True), (3, 0, False), (4, 1, True), (9, 1, False)])
def test_iterations_are_counted_from_one(iteration, number, begins):
    phases = Phases([{'iters': 3, 'lr': 0.5}, {'iters': 3, 'lr': 0.25}])
    assert phases.at(iteration).lr == (0.5, 0.25)[number] and phases.begins(iteration) is begins


def test_two_ranks_change_phases_as_one_does(make_project):
    from dinoir_plugin.testing.project import logged
    from tests.models.test_training import TORCHRUN

    project = make_project()
    project.train.update(total_iter=4, ema_decay=0, phases=PHASES)
    one = project.run().log
    project.data['batch_size_per_gpu'] = 2
    two = project.run('--launcher', 'pytorch', command=TORCHRUN).log
    for key, count in (('l_dpc', 2), ('l_pix', 2)):
        assert len(logged(one, key)) == count
        assert logged(two, key) == pytest.approx(logged(one, key), rel=2e-4)
