"""Two ranks log the losses of one rank with the doubled batch, for networks with training of their own."""

import pytest

from dinoir_plugin.testing.project import logged
from dinoir_plugin.testing.teachers import TINY_TKMANET, write_teachers
from tests.models.test_training import TORCHRUN

IDR = {'type': 'IDR', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 0, 'heads': [1, 2, 4, 8],
       'num_degra_queries': 4}  # fmt: skip


@pytest.fixture
def idr(make_project):
    project = make_project()
    project.options.update(model_type='RestorationModel', network_g=dict(IDR))
    project.train.update(
        levels_opt={'type': 'IDRLevelLoss'}, types_opt={'type': 'IDRTypeLoss'},
        phases=[{'iters': 2, 'stage': 1, 'losses': ['pixel', 'levels', 'types']},
                {'iters': 2, 'stage': 2, 'losses': ['pixel', 'levels']}],
    )  # fmt: skip
    return project, {'l_pix': 4, 'l_levels': 4, 'l_types': 2}


@pytest.fixture
def tkmanet(make_project, tmp_path):
    project = make_project()
    tasks = list(project.data['tasks'])
    project.options.update(
        model_type='TransferModel', network_g={**TINY_TKMANET, 'teachers': len(tasks)},
        teachers=write_teachers(tmp_path, tasks),
    )  # fmt: skip
    project.train.update(
        transfer_opt={'type': 'KnowledgeTransferLoss'},
        phases=[{'iters': 2, 'losses': ['transfer']}, {'iters': 2, 'losses': ['pixel']}],
    )
    return project, {'l_transfer': 2, 'l_pix': 2}


@pytest.mark.parametrize('name', ['idr', 'tkmanet'])
def test_two_ranks_log_the_losses_of_one(name, request):
    project, losses = request.getfixturevalue(name)
    del project.train['dpc_opt']
    project.train.update(total_iter=4, ema_decay=0)
    project.data.update(batch_size_per_gpu=2, num_worker_per_gpu=0)
    one = project.run().log
    project.data.update(batch_size_per_gpu=1, num_worker_per_gpu=1)
    two = project.run('--launcher', 'pytorch', command=TORCHRUN).log
    for loss, count in losses.items():
        assert len(logged(one, loss)) == count, one
        assert logged(two, loss) == pytest.approx(logged(one, loss), rel=2e-3), loss
