"""Perceive-IR's quickstart: its steps in order, and what is finished is not done again."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from dinoir_plugin.experiments import perceive_ir_quickstart as quickstart
from dinoir_plugin.experiments import stage
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.medium import Outcome


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with tiny photographs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['perceive_ir_quickstart'])
    for name in ('a_0', 'a_1', 'b_0', 'b_1', 'c_0'):
        path = quickstart.quickstart.IMAGES / 'train' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.zeros((16, 16, 3), np.uint8))
    return tmp_path


def test_the_networks_of_the_folds_are_trained_first_and_once(folder, monkeypatch, capsys):
    trained = []

    def start(words, log, title, progress):
        options = yaml.safe_load(Path(words[3]).read_text())
        trained.append(options['name'])
        if len(trained) == 3:
            raise RunError('stopped; the same command goes on from here')
        path = folder / 'experiments' / options['name'] / 'models' / 'net_g_latest.pth'
        path.parent.mkdir(parents=True)
        path.touch()

    monkeypatch.setattr(stage, 'start', start)
    monkeypatch.setattr(quickstart, 'render', lambda *given: Outcome(3, 0))
    assert quickstart.main() == 1
    name = 'perceive_ir_medium_quickstart'
    assert trained == [f'{name}_0', f'{name}_1', 'perceive_ir_prompts_quickstart']
    lists = [(quickstart.LISTS / f'fold{fold}' / 'rain.txt').read_text().split() for fold in (0, 1)]
    assert not {line[0] for line in lists[0]} & {line[0] for line in lists[1]}
    assert 'goes on from here' in capsys.readouterr().err
    # it has no figures here
    assert quickstart.main() == 1 and trained[3:] == ['perceive_ir_prompts_quickstart']
    assert 'never saw fold 1: trained already' in capsys.readouterr().err


@pytest.mark.parametrize(('gain', 'good'), [(1.0, True), (-1.0, False)])
def test_images_that_no_network_saw_tell_whether_it_learned(gain, good, folder, monkeypatch, capsys):
    photo = np.random.default_rng(0).integers(60, 200, (32, 32, 3), np.uint8)
    (quickstart.quickstart.IMAGES / 'heldout').mkdir()
    assert cv2.imwrite(str(quickstart.quickstart.IMAGES / 'heldout' / 'a.png'), photo)

    class Restorer:
        @classmethod
        def from_checkpoint(cls, path):
            return cls()

        def restore(self, image):
            # nearer to the middle, or farther from it
            return image + gain * 0.3 * (image.mean((1, 2), keepdim=True) - image)

    monkeypatch.setattr(quickstart, 'Restorer', Restorer)
    monkeypatch.setattr(quickstart.quickstart, 'psnr', lambda image, target: -float(np.std(image)))
    assert quickstart.report_restoring() == good
    said = capsys.readouterr()
    assert said.out.count('dB') == 1 and ('FAILED: no gain in noise, blur, rain' in said.err) == (not good)
