"""AirNet by BasicSR's trainer: its encoder first, then all of it, on one rank and on two."""

import subprocess
import sys

import pytest
import torch

from dinoir_plugin.testing.project import logged
from tests.models.test_training import TORCHRUN

TINY = {'type': 'AirNet', 'n_feats': 8, 'n_groups': 1, 'n_blocks': 1, 'encoder_widths': [8, 12, 16], 'dim': 16,
        'batch_size': 4}  # fmt: skip
SAME_QUEUE = """
import time
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from dinoir_plugin.archs.airnet_arch import AirNet
from dinoir_plugin.core import ranks

distributed.init_process_group('gloo')
torch.manual_seed(0)
net = AirNet(n_feats=8, n_groups=1, n_blocks=1, encoder_widths=(8, 12, 16), dim=16, batch_size=1)
own = []
net.E.E.encoder_k.register_forward_hook(
    lambda module, inputs, output: own.append(torch.nn.functional.normalize(output[1])))
torch.manual_seed(10 + ranks.rank())
for learns in (False, True):
    net.R.requires_grad_(learns)
    wrapped = DistributedDataParallel(net)
    for _ in range(2):
        outputs = wrapped(*torch.rand(2, 3, 3, 8, 8))
        loss = torch.nn.functional.cross_entropy(outputs.aux['logits'], outputs.aux['labels'])
        (loss + (outputs.image.square().mean() if learns else 0)).backward()
moco = net.E.E
# four steps of two ranks with three keys each, in 16 places: the fourth step fills 2 to 7
last = ranks.gather(own[-1].tolist())
expected = [last[place % 2][place // 2] for place in range(6)]
places = [2, 3, 4, 5, 6, 7]
for queue, pointer in ranks.gather((moco.queue.T.tolist(), moco.queue_ptr.item())):
    assert pointer == 8, pointer
    assert torch.allclose(torch.tensor(queue)[places], torch.tensor(expected), atol=1e-6)
    assert queue == moco.queue.T.tolist()
weights = ranks.gather(moco.encoder_k.mlp[0].weight.tolist())
assert weights[0] == weights[1]
distributed.barrier()
distributed.destroy_process_group()
# gloo's threads must not be left waiting for the interpreter's lock when it ends
time.sleep(0.1)
"""


def phases(first):
    return [{'iters': first, 'losses': ['contrast'], 'train_only': ['E']}, {'iters': first}]


@pytest.fixture
def project(make_project):
    project = make_project()
    project.options.update(network_g=dict(TINY), model_type='RestorationModel')
    project.data['second_patch'] = True
    project.train.update(
        ema_decay=0, grad_clip_norm=0.0, contrast_opt={'type': 'ContrastiveQueueLoss', 'loss_weight': 0.1}
    )
    del project.train['dpc_opt']
    return project


def test_the_encoder_learns_first_and_then_all_of_it(project):
    project.train.update(total_iter=80, phases=phases(20))
    project.train['optim_g']['lr'] = 3.0e-3
    project.options['logger'].update(save_checkpoint_freq=20)
    log = project.run().log
    contrast, pixel = logged(log, 'l_contrast'), logged(log, 'l_pix')
    assert len(contrast) == 80 and len(pixel) == 60
    assert sum(pixel[-15:]) < 0.8 * sum(pixel[:15])
    states = [torch.load(project.models / f'net_g_{n}.pth', weights_only=True)['params'] for n in (20, 40, 60)]
    # 4 keys a step and 64 places
    assert [state['E.E.queue_ptr'].item() for state in states] == [80 % 64, 160 % 64, 240 % 64]
    project.train['total_iter'] = 82
    assert len(logged(project.run('--auto_resume').log, 'l_contrast')) == 2


def test_two_ranks_train_both_phases(project):
    project.train.update(total_iter=4, phases=phases(2))
    one = project.run().log
    project.data['batch_size_per_gpu'] = 2
    two = project.run('--launcher', 'pytorch', command=TORCHRUN).log
    assert len(logged(two, 'l_contrast')) == 4 and len(logged(two, 'l_pix')) == 2
    state = torch.load(project.models / 'net_g_latest.pth', weights_only=True)['params']
    assert state['E.E.queue_ptr'].item() == 16, 'the keys of both ranks'
    # not the same: batch norms see the samples of their rank
    assert logged(two, 'l_pix') == pytest.approx(logged(one, 'l_pix'), rel=0.05)


def test_ranks_keep_one_queue(tmp_path):
    (tmp_path / 'same_queue.py').write_text(SAME_QUEUE)
    words = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', 'same_queue.py']
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
