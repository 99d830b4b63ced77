"""`dinoir modules` lists what guide_at can name."""

import pytest
import yaml

from dinoir_plugin.cli import main
from dinoir_plugin.core.console import BAD, GOOD, USAGE

TINY = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1, 2.0], 'dec_blk_nums': [1, 1]}
HEADS = 'module         channels  scale  modules'
LINES = (
    'intro                 4      1        1',
    'encoders.1            8    1/2        1',
    'encoders.1.*          8    1/2        2',
    'decoders.1            4      1        1',
    'middle_blks          16    1/4        1',
    'middle_blks.0        16    1/4        1',
)


@pytest.mark.parametrize('network', [TINY, {'type': 'DINOIRArch', 'backbone': TINY}])
def test_modules_of_an_options_file_are_listed(tmp_path, capsys, network):
    path = tmp_path / 'own.yml'
    path.write_text(yaml.safe_dump({'name': 'a', 'model_type': 'RestorationModel', 'network_g': network}))
    assert main(['modules', str(path)]) == GOOD
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == HEADS
    assert set(LINES) < set(lines)
    assert lines[-1].endswith('more are inside of these; --all lists them')
    assert main(['modules', str(path), '--all']) == GOOD
    assert len(capsys.readouterr().out.splitlines()) > len(lines)


@pytest.mark.parametrize(('network', 'status', 'said'), [
    ('Restromer', USAGE, "network_g.type: nothing is registered as 'Restromer'. did you mean 'Restormer'?"),
    ('DINOIRArch', USAGE, 'network_g.backbone: this key is required, but missing.'),
    ('missing.yml', USAGE, 'there is no options file missing.yml'),
    (__file__, BAD, 'test_modules.py: line 1'),
])  # fmt: skip
def test_what_cannot_be_listed_is_said_in_one_line(capsys, network, status, said):
    assert main(['modules', network]) == status
    answer = capsys.readouterr().err
    assert said in answer
    assert answer.count('\n') == 1
