"""Hold back the host's false warning in the plugin's runs, and in no others."""

import logging

from dinoir_plugin.plugin.host_warnings import FALSE, NAME, hush


def test_the_false_warning_is_left_out_of_our_runs_alone(caplog):
    logger = logging.getLogger(NAME)
    logger.addHandler(caplog.handler)
    try:
        for ours in (True, True, False):
            hush(ours)
            for line in (FALSE, 'another'):
                logger.warning(line)
    finally:
        hush(False)
        logger.removeHandler(caplog.handler)
    said = [record.getMessage() for record in caplog.records]
    assert set(said) == {FALSE, 'another'}
    assert said.count('another') == 3 * said.count(FALSE)
