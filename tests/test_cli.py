"""The command line as a whole: its commands, the options files, and errors in one line."""

import pytest

from dinoir_plugin.cli import main
from dinoir_plugin.core.console import BAD, GOOD, INTERRUPTED, USAGE
from dinoir_plugin.core.options_files import CHECKOUT, options_file, options_names


def test_statuses_are_those_of_other_programs():
    assert (GOOD, BAD, USAGE, INTERRUPTED) == (0, 1, 2, 130)


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    names = ('check', 'prepare', 'reproduce', 'compare', 'options', 'modules', 'restore', 'info', 'export', 'demo')
    for name in names:
        assert f'\n    {name} ' in said
    assert main([]) == USAGE


def test_options_are_listed_and_printed(capsys):
    assert main(['options']) == GOOD
    listed = capsys.readouterr().out.splitlines()
    assert listed == options_names()
    assert {f'{name}.yml' for name in listed} == {p.relative_to(CHECKOUT).as_posix() for p in CHECKOUT.rglob('*.yml')}
    for name in ('train_dinoir_all4', 'dinoir/train_psf.yml'):
        assert main(['options', name]) == GOOD
        assert capsys.readouterr().out == options_file(name).read_text()


def test_an_options_file_that_is_not_there_is_said_with_the_nearest(capsys):
    assert main(['options', 'train_dinoir_all']) == USAGE
    said = capsys.readouterr().err
    assert said.endswith("no options file and no option 'train_dinoir_all': did you mean 'train_dinoir_all4'?\n")


@pytest.mark.parametrize(('error', 'status', 'said'), [
    (ValueError('this is wrong'), BAD, 'dinoir: this is wrong\n'),
    (OSError('the disk is full'), BAD, 'dinoir: the disk is full\n'),
    (KeyboardInterrupt(), INTERRUPTED, 'dinoir: stopped; the same command goes on from the last checkpoint\n'),
])  # fmt: skip
def test_errors_become_one_line_and_a_status(capsys, monkeypatch, error, status, said):
    def fail(request):
        raise error

    monkeypatch.setattr('dinoir_plugin.experiments.reproduce.run', fail)
    assert main(['reproduce', 'run', 'table3', '--budget', 'tiny']) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize('words', [
    ['reproduce', 'run', 'table9'], ['reproduce', 'run', 'table3', '--budget', 'huge'],
    ['reproduce', 'run', 'table3', '--seeds', '0'], ['prepare', 'nothing', 'x.zip'],
])  # fmt: skip
def test_words_that_nothing_knows_are_wrong_use(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == USAGE
    assert 'error: ' in capsys.readouterr().err
