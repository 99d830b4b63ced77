"""Programs whose output goes into a file: a bar, and the end of the output where they fail."""

import io
import re
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from dinoir_plugin.core.console import INTERRUPTED
from dinoir_plugin.experiments import programs
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.runs import TESTED, TRAINED

pytestmark = pytest.mark.usefixtures('folder')


def test_a_program_that_fails_is_said_with_the_end_of_its_output(capfd):
    log = Path('logs/run.log')
    log.parent.mkdir()
    log.write_text('of an earlier attempt\n')
    words = ['-c', 'import sys; print(*range(30), "bar 1\\rbar 2", sep="\\n"); sys.exit("no luck")']
    with pytest.raises(RunError) as caught:
        programs.start(words, log, '[1/2] plain: training')
    said = str(caught.value).splitlines()
    assert said[0].startswith('[1/2] plain: training failed: `python -c ')
    assert said[0].endswith(' ended with status 1. The end of its output, which is in logs/run.log:')
    assert said[1:] == [f'  {number}' for number in range(12, 30)] + ['  bar 2', '  no luck']
    assert log.read_text().startswith('of an earlier attempt\n0\n')
    with pytest.raises(RunError, match='stopped; the same command goes on from here'):
        programs.start(['-c', f'raise SystemExit({INTERRUPTED})'], log, 'x')
    assert capfd.readouterr() == ('', '')


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    words = ['-c', "print('[tiny_..][epoch:  1, iter:   1,040, lr:(1e-3,)] ')"]
    programs.start(words, Path('run.log'), '[1/2] plain: training', programs.Progress(TRAINED, 2000, 'it'))
    said = capsys.readouterr().err
    assert '[1/2] plain: training:  52%' in said and '1040/2000' in said


def test_bars_move_by_what_programs_write():
    stream = io.StringIO()
    with tqdm(total=100, file=stream) as bar:
        for number, reached in ((40, 40), (60, 60), (None, 60)):
            line = '' if number is None else f'INFO: [tiny_..][epoch:  0, iter: {number:8,d}, lr:('
            programs._show(bar, [found for found in [TRAINED.search(line)] if found])
            assert (bar.n, bar.initial) == (reached, 40)
    with tqdm(total=3, file=stream) as bar:
        programs._show(bar, list(re.finditer(TESTED, 'INFO: Testing noise15...\n INFO: Testing rain...\n')))
        assert (bar.n, bar.initial) == (2, 0)
