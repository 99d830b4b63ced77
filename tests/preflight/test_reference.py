"""The reference of the options says what the code declares, and docs/options.md is what the command writes."""

from pathlib import Path

import pytest

from dinoir_plugin.cli import main
from dinoir_plugin.core.console import GOOD, USAGE
from dinoir_plugin.core.docstrings import argument_texts, first_sentence
from dinoir_plugin.preflight.reference import reference
from dinoir_plugin.preflight.reference_text import page

PAGE = Path(__file__).parents[2] / 'docs' / 'options.md'
COMMAND = 'dinoir options --markdown > docs/options.md'


def entries():
    return [entry for chapter in reference() for section in chapter.sections for entry in section.entries]


def test_the_page_is_what_the_command_writes(capsys):
    assert main(['options', '--markdown']) == GOOD
    assert capsys.readouterr().out == PAGE.read_text(encoding='utf-8'), f'options have changed. Run: {COMMAND}'


def test_every_option_says_what_it_takes_and_does():
    found = entries()
    assert len(found) > 200
    silent = [entry.path for entry in found if not entry.text or entry.text.startswith('See ') or not entry.takes]
    assert not silent


def test_paths_are_those_of_an_options_file():
    paths = {entry.path for entry in entries()}
    assert {'train.<name>_opt.layers', 'datasets.<set>.stages[n].iters', 'datasets.<set>.tasks.<task>.dataroot_lq',
            'network_g.encoder.layers', 'network_g.psf.form', 'network_g.fusion.attention',
            'val.metrics.<column>.crop_multiple', 'teachers'} <= paths  # fmt: skip
    assert not paths & {'datasets.<set>.done_iters', 'network_g.psf.in_channels', 'val.metrics.<column>.img'}


@pytest.mark.parametrize(('word', 'said'), [
    ('train.amp', 'train.amp: off, bf16 or fp16; default off\n    Precision of the training step.\n'),
    ('amp', 'train.amp: off, bf16 or fp16; default off\n    Precision of the training step.\n'),
    ('path.resume_state', 'path.resume_state: text\n    Training state to go on from.\n'),
    ('datasets.val_rain.tasks.derain.repeat', 'datasets.<set>.tasks.<task>.repeat of MixedDegradationDataset: a whole '
     "number of at least 1; default 1\n    The literature's repeat factor, for sampling: proportional.\n"),
    ('EdgeLoss', 'train.<name>_opt.loss_weight of EdgeLoss: a number; default 1.0\n    Factor of the whole.\n'
     "train.<name>_opt.eps of EdgeLoss: a number; default 1e-06\n    As in BasicSR's CharbonnierLoss; the square of "
     "the paper's.\n"),
])  # fmt: skip
def test_one_option_or_class_is_explained(capsys, word, said):
    assert main(['options', word]) == GOOD
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(('word', 'first', 'count'), [
    ('train.phases', 'train.phases: a list of blocks', 6), ('train.phases[1].lr', 'train.phases[n].lr: a number', 1),
    ('network_g.backbone.num_degra_queries', 'network_g.num_degra_queries of IDR', 1),
    ('network_g.encoder', 'network_g.encoder of DINOIRArch: a block of options; required', 10),
])  # fmt: skip
def test_all_below_an_option_are_explained(capsys, word, first, count):
    assert main(['options', word]) == GOOD
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(' ')]
    assert lines[0].startswith(first)
    assert len(lines) == count


@pytest.mark.parametrize(('word', 'nearest'), [
    ('train.apm', "'train.amp'"), ('tile_overlp', "'tile_overlap'"), ('restormer', "'Restormer'"),
    ('train_dinoir_all5', "'train_dinoir_all4'"),
])  # fmt: skip
def test_a_word_that_nothing_is_called_is_said_with_the_nearest(capsys, word, nearest):
    assert main(['options', word]) == USAGE
    said = capsys.readouterr().err
    assert said == f"dinoir: there is no options file and no option '{word}': did you mean {nearest}?\n"


def test_a_class_has_the_arguments_of_its_bases_and_a_text_ends_with_its_first_sentence():
    class Base:
        """Do.

        Args:
            one: Of ``x``, e.g. ``Y``. More of it.
            two: See
                :class:`~a.b.Two`.

        Raises:
            three: No argument.
        """

    class Own(Base):
        """Do more.

        Args:
            two: Other.
        """

    texts = argument_texts(Own)
    assert texts == {'two': 'Other.', 'one': 'Of `x`, e.g. `Y`. More of it.'}
    assert argument_texts(Base)['two'] == 'See `Two`.'
    assert first_sentence(texts['one']) == 'Of `x`, e.g. `Y`.'
    assert '| `train.<name>_opt.floor` | a number | `0.0` |' in page()
