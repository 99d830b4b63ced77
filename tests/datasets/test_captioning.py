"""``dinoir prepare captions``: which images, what is kept of an earlier run, and what is said without a captioner."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from skimage import data

from dinoir_plugin.cli import main
from dinoir_plugin.data.captions import read_captions
from dinoir_plugin.datasets import captioning
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.testing.project import write


@pytest.fixture
def folder(tmp_path):
    photo = data.chelsea()[:32, :32]
    for word, kinds in {'rainy': ('GT', 'LQ'), 'noisy': ('GT',)}.items():
        for kind in kinds:
            for name in ('a', 'b'):
                write(tmp_path / 'train' / word / kind, name, photo)
    return tmp_path / 'train'


def test_every_image_of_every_word_gets_the_caption_of_its_clean_one(folder, tmp_path):
    seen = []

    def describe(image):
        seen.append(image)
        return f'a cat:  in\t{len(seen)}\n'

    out, wanted = tmp_path / 'x.csv', captioning.wanted_in(folder, ())
    assert captioning.caption(wanted, out, lambda: describe) == (4, 4)
    assert all(np.array_equal(image, data.chelsea()[:32, :32]) for image in seen)
    assert [(one.file, one.text, one.word) for one in read_captions(str(out), 'x')] == [
        (str(folder / word / kind / f'{name}.png'), f'a cat in {number}', word)
        for number, (word, kind, name) in enumerate(
            [(word, kind, name) for word, kind in (('noisy', 'GT'), ('rainy', 'LQ')) for name in 'ab'], start=1)
    ]  # fmt: skip


def test_what_an_earlier_run_has_written_is_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(captioning, 'SAVED_AFTER', 1)
    out, wanted = tmp_path / 'x.csv', captioning.wanted_in(folder, ['rainy'])

    answers = iter(['first'])

    def stops(image):
        return next(answers)

    with pytest.raises(StopIteration):
        captioning.caption(wanted, out, lambda: stops)
    assert captioning.caption(wanted, out, lambda: lambda path: 'second') == (1, 2)
    assert [one.text for one in read_captions(str(out), 'x')] == ['first', 'second']
    assert captioning.caption(wanted, out, lambda: pytest.fail('nothing is left to do')) == (0, 2)


def test_an_options_file_names_its_tasks_and_roots(folder):
    file = folder / 'x.yml'
    tasks = {'rainy': {f'dataroot_{key}': str(folder / 'rainy' / kind) for key, kind in (('gt', 'GT'), ('lq', 'LQ'))},
             'noisy': {'dataroot_gt': str(folder / 'noisy' / 'GT'), 'degradation': {'type': 'jpeg', 'quality': 10}}}
    file.write_text(yaml.safe_dump({'datasets': {'train': {'tasks': tasks}}}))
    wanted = captioning.wanted_in(file, ())
    found = [(one.word, Path(one.file).parts[-2:], Path(one.clean).parts[-2:]) for one in wanted]
    assert sorted(found) == [(word, (kind, f'{name}.png'), ('GT', f'{name}.png'))
                             for word, kind in (('noisy', 'GT'), ('rainy', 'LQ')) for name in 'ab']  # fmt: skip
    assert {one.word for one in captioning.wanted_in(file, ['noisy'])} == {'noisy'}


def test_images_alone_are_taken_for_each_word(folder):
    images = folder / 'noisy' / 'GT'
    found = captioning.wanted_in(images, ['hazy', 'snowy'])
    assert [(one.word, Path(one.file).name, one.clean == one.file) for one in found] == [
        (word, f'{name}.png', True) for word in ('hazy', 'snowy') for name in 'ab'
    ]


@pytest.mark.parametrize(('place', 'words', 'said'), [
    ('none', (), 'no such folder'),
    ('noisy/GT', (), 'expected <word>/GT and <word>/LQ in it, or images together with --words'),
    ('.', ['snowy'], "--words: 'snowy': .* has no folder with GT of that name, only noisy, rainy"),
    ('x.yml', (), 'no such file'),
])  # fmt: skip
def test_a_folder_of_another_kind_is_named(place, words, said, folder):
    with pytest.raises(PreparationError, match=said):
        captioning.wanted_in(folder / place, words)


def test_without_a_captioner_one_line_says_what_to_do(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    assert main(['prepare', 'captions', str(folder), '--out', str(tmp_path / 'x.csv')]) == 1
    said = capsys.readouterr().err
    assert 'captions need the package transformers' in said and "pip install 'dinoir_plugin[captions]'" in said
    assert said.count('\n') == 1


def test_a_model_that_cannot_be_had_is_named(folder, monkeypatch):
    class Missing:
        @staticmethod
        def from_pretrained(model):
            raise OSError(f'{model} is not there\nand more')

    monkeypatch.setitem(sys.modules, 'transformers', type(sys)('transformers'))
    for name in ('BlipProcessor', 'BlipForConditionalGeneration'):
        monkeypatch.setattr(sys.modules['transformers'], name, Missing, raising=False)
    with pytest.raises(
        PreparationError, match=r"^--model: '\S+' cannot be had \(\S+ is not there\)\. Fetch https://\S+"
    ):
        captioning.blip(str(folder))
