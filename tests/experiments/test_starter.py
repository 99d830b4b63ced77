"""How the package's own model is trained: in pieces, with the weights held against each other at the joints."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from dinoir_plugin.core import network_file
from dinoir_plugin.experiments import starter
from dinoir_plugin.experiments.measured import RunError


@pytest.mark.parametrize(('shape', 'count'), [((321, 481, 3), 6), ((460, 620), 6), ((170, 150, 3), 1)])
def test_pieces_are_equal_and_large_enough_for_a_patch(shape, count):
    cut = starter.pieces(np.zeros(shape, np.uint8))
    assert len(cut) == count and len({piece.shape for piece in cut}) == 1
    assert min(cut[0].shape[:2]) >= min(starter.SIDE, *shape[:2])


def test_packed_images_keep_how_they_pair_up(tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(starter, 'FOLDERS', {'clear': 'haze/clear', 'hazy': 'haze/hazy'})
    monkeypatch.setattr(starter, 'TRAINING', ('camera',))
    for name in ('clear/12.png', 'hazy/12_3.png'):
        (tmp_path / 'data' / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'data' / name), np.tile(photo, (2, 3, 1)))
    assert starter.pack(tmp_path / 'data') == 0
    found = sorted(path.name for path in (starter.IMAGES / 'haze').rglob('*.jpg'))
    assert found == ['12p0.jpg', '12p0_3.jpg', '12p1.jpg', '12p1_3.jpg']
    assert len(list((starter.IMAGES / 'photos').iterdir())) == 9


def test_a_joint_with_other_weights_stops_the_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part = starter.Part('starter', 'starter/train_starter', 2)
    models = part.folder / 'models'
    models.mkdir(parents=True)
    monkeypatch.setattr(starter, 'trainer', lambda *words: [SimpleNamespace(wait=lambda: 0)] * 2)
    write(models / 'net_g_5.pth', [1.0, 1.0])
    write(models / 'net_g_latest.pth', [1.0, 1.0])
    starter.check_joint(part, 5, ())
    write(models / 'net_g_latest.pth', [1.0, 1.0 + 1e-6])
    with pytest.raises(RunError, match='has not the weights that a run goes on from'):
        starter.check_joint(part, 5, ())


def write(path, values):
    state = {'w': torch.tensor(values)}
    content = network_file.NetworkFile({'params': state, 'params_ema': state}, network_file.Description({}))
    network_file.write(path, content)


def test_a_piece_asks_every_rank_to_stop():
    program = 'import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nprint(1)\nsignal.pause()'
    ranks = [subprocess.Popen([sys.executable, '-uc', program], stdout=subprocess.PIPE) for _ in range(2)]
    for rank in ranks:
        rank.stdout.readline()
    assert starter.piece(ranks, 0, []) == 75
    assert [rank.returncode for rank in ranks] == [75, 75]
    for rank in ranks:
        rank.stdout.close()


def test_ranks_are_told_of_each_other():
    assert starter.environments(1) == [{}]
    both = starter.environments(2)
    assert [words['RANK'] for words in both] == ['0', '1']
    assert len({words['MASTER_PORT'] for words in both}) == 1 and both[0]['WORLD_SIZE'] == '2'
