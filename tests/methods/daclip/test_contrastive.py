import math
import subprocess
import sys

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from dinoir_plugin.methods.daclip.contrastive import contrastive
from dinoir_plugin.methods.daclip.texts import kinds_of

TWO_RANKS = """
import os, sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from dinoir_plugin.methods.daclip.contrastive import contrastive

def gradients(network, images, texts, kinds):
    network.zero_grad()
    loss = contrastive(network(images), texts, network.module.scale if ranked else network.scale, kinds)
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in network.parameters())]

class Net(nn.Linear):
    def __init__(self):
        super().__init__(5, 4)
        self.scale = nn.Parameter(torch.tensor(3.0))

rank = 0 if os.fork() else 1
torch.manual_seed(0)
network, images, texts = Net(), torch.randn(6, 5), torch.randn(6, 4)
# a text's features are equal wherever it occurs
kinds = torch.tensor([7, 7, 3, 5, 3, 7])
texts = texts[[0, 0, 2, 3, 2, 0]]
ranked = False
alone = [gradients(network, images, texts, given) for given in (None, kinds)]
distributed.init_process_group('gloo', init_method=f'file://{sys.argv[1]}', rank=rank, world_size=2)
ranked, wrapped = True, DistributedDataParallel(network)
for given, expected in zip((None, kinds), alone):
    own = (tensor if tensor is None else tensor[rank::2] for tensor in (images, texts, given))
    for value, wanted in zip(gradients(wrapped, *own), expected):
        torch.testing.assert_close(value, wanted)
distributed.barrier()
distributed.destroy_process_group()
if rank == 0:
    assert os.wait()[1] == 0
os._exit(0)
"""


def test_two_ranks_have_the_gradients_of_one(tmp_path):
    (tmp_path / 'two_ranks.py').write_text(TWO_RANKS)
    words = [sys.executable, 'two_ranks.py', str(tmp_path / 'store')]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_diagonal_is_clips_loss():
    images, texts = torch.randn(2, 7, 5).double()
    logits = 9 * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = torch.arange(7)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert_close(contrastive(images, texts, torch.tensor(9.0)), expected)
    different = kinds_of([f'text {number}' for number in range(7)], torch.device('cpu'))
    assert_close(contrastive(images, texts, torch.tensor(9.0), different), expected)


def test_each_different_text_counts_once():
    images, two = torch.randn(6, 5), torch.randn(2, 5)
    which = torch.tensor([0, 1, 0, 0, 1, 0])
    logits = 4 * F.normalize(images, dim=1) @ F.normalize(two, dim=1).T
    # images choose between the two texts; the images of a text share its target
    to_texts = F.cross_entropy(logits, which)
    shares = F.one_hot(which).float() / which.bincount()
    entropy = which.bincount().log().mean()
    to_images = F.cross_entropy(logits.T, shares.T) - entropy
    found = contrastive(images, two[which], torch.tensor(4.0), which)
    assert_close(found, (to_texts + to_images) / 2)


def test_sharing_the_target_alone_would_change_nothing():
    texts = torch.randn(2, 5).double()[torch.tensor([0, 1, 0, 0, 1, 0])]
    equal = (texts[:, None] == texts).all(dim=2).double()
    images, scale = torch.randn(6, 5).double().requires_grad_(), torch.tensor(4.0).double().requires_grad_()
    logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    shares = equal / equal.sum(dim=1)
    shared = (F.cross_entropy(logits, shares) + F.cross_entropy(logits.T, shares)) / 2
    found = contrastive(images, texts, scale)
    assert_close(found, shared)
    for one, other in zip(*(torch.autograd.grad(loss, (images, scale)) for loss in (found, shared))):
        assert_close(one, other)


def test_who_knows_all_words_has_no_loss_unless_equal_ones_are_wrong():
    which = torch.tensor([0, 0, 0, 1, 1, 1])
    known = torch.eye(2)[which]
    scale = torch.tensor(100.0)
    assert contrastive(known, known, scale, which) < 1e-6
    assert_close(contrastive(known, known, scale), torch.tensor(math.log(3)))


def test_kinds_are_the_same_in_every_process():
    hazy, rainy = 2616333363756813505, 6869997093142816726
    assert kinds_of(['hazy', 'rainy', 'hazy'], torch.device('cpu')).tolist() == [hazy, rainy, hazy]
