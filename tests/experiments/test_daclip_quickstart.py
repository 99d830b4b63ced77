"""DA-CLIP's quickstart: what is trained already is not trained again, and chance is no success."""

import json
import sys

import pytest

from dinoir_plugin.experiments import daclip_quickstart as quickstart
from dinoir_plugin.experiments import stage
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.methods.daclip import WORDS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['daclip_quickstart'])
    monkeypatch.setattr(quickstart.quickstart, 'prepare', lambda: None)
    monkeypatch.setattr(quickstart.daclip_unet, 'train', lambda encoder: None)
    monkeypatch.setattr(quickstart.daclip_unet, 'report', lambda: True)
    folder = tmp_path / quickstart.WORDS.folder
    (folder / 'models').mkdir(parents=True)
    return folder


def measure(folder, accuracy):
    (folder / 'models' / 'net_g_latest.pth').touch()
    images = [{'task': word, 'name': 'a', 'accuracy': accuracy} for word in WORDS for _ in range(2)]
    means = {word: {'accuracy': accuracy} for word in [*WORDS, 'average']}
    (folder / 'metrics_heldout.json').write_text(json.dumps({'iteration': 9, 'means': means, 'images': images}))


@pytest.mark.parametrize(('accuracy', 'status'), [(0.7, 0), (0.2, 1)])
def test_what_is_trained_is_reported_and_held_against_chance(accuracy, status, folder, capsys):
    measure(folder, accuracy)
    assert quickstart.main() == status
    said = capsys.readouterr()
    assert f'average          20      {accuracy:.0%}' in said.out and '(guessing: 10%)' in said.out
    assert 'trained already' in said.err and ('FAILED: expected 30% at least' in said.err) == bool(status)


def test_training_goes_on_from_where_it_was(folder, monkeypatch, capsys):
    called = []

    def start(words, log, title, progress):
        called.append((words, progress.total))
        raise RunError('stopped; the same command goes on from here')

    monkeypatch.setattr(stage, 'start', start)
    assert quickstart.main() == 1
    ((words, total),) = called
    assert words[:2] == ['-m', 'basicsr.train'] and words[-1] == '--auto_resume' and total == 900
    assert 'stopped; the same command goes on from here' in capsys.readouterr().err
