"""Warnings of a run stand in its log, each once and on one line."""

import logging
import warnings

import pytest
from basicsr.utils import logger as host

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.plugin import run_warnings
from dinoir_plugin.plugin.host_warnings import NAME
from dinoir_plugin.plugin.run_start import one_line


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """Begins a run of the plugin, whose log is not open yet; returns what opens it and what reads it."""
    logger = logging.getLogger(NAME)
    monkeypatch.setattr(host, 'initialized_logger', {})
    monkeypatch.setattr(logger, 'handlers', [])
    monkeypatch.setattr(logger, 'propagate', logger.propagate)
    monkeypatch.setattr(logger, 'level', logger.level)
    file = tmp_path / 'run.log'
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        run_warnings.send_to_log(ours=True)
        yield lambda: host.get_root_logger(log_file=str(file)), file.read_text
        run_warnings.send_to_log(ours=False)


def lines(text):
    return [line.partition(' ')[2].partition(' ')[2] for line in text.splitlines()]


def test_what_was_said_before_the_log_was_there_stands_in_it(begin, capfd):
    open_log, read = begin
    warnings.warn('network_g.encoder: random weights', stacklevel=1)
    warnings.warn('network_g.encoder: random weights', stacklevel=1)
    assert capfd.readouterr() == ('', '')
    logger = open_log()
    logger.info('banner')
    warnings.warn_explicit('of a library,\n  on two lines', FutureWarning, '/lib/x.py', 7)
    warnings.warn('network_g.encoder: random weights', stacklevel=1)
    expected = ['WARNING: network_g.encoder: random weights', 'INFO: banner', 'WARNING: of a library, on two lines']
    assert lines(read()) == lines(capfd.readouterr().err) == expected


def test_a_run_that_ends_before_its_log_says_them_before_the_error(begin, caplog):
    logging.getLogger('dinoir_plugin').addHandler(caplog.handler)
    warnings.warn('first', stacklevel=1)
    with pytest.raises(SystemExit, match=r'o\.yml: x: wrong'), one_line('o.yml'):
        raise OptionsError('x', 'wrong')
    logging.getLogger('dinoir_plugin').removeHandler(caplog.handler)
    assert caplog.messages[0] == 'WARNING: first'


def test_runs_of_others_show_warnings_as_before(begin, recwarn):
    run_warnings.send_to_log(ours=False)
    assert warnings.showwarning is not run_warnings._show
    assert run_warnings._write_first not in logging.getLogger(NAME).filters
