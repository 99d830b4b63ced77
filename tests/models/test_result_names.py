"""Names of restored images come from data, and never lead out of their folder."""

import os

import pytest

from dinoir_plugin.models.validation import result_name


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('/data/clean/12.png', '12.png'),
        ('/data/gopro.lmdb/GOPR_01/000047.png', 'GOPR_01_000047.png'),
        ('/data/x.lmdb/../../../etc/passwd.png', '.._.._.._etc_passwd.png'),
        ('/data/x.lmdb//etc/passwd', '_etc_passwd'),
        ('/data/x.lmdb/y.lmdb/../z.png', '.._z.png'),
    ],
)
def test_keys_with_folders_become_one_name(path, name):
    assert result_name(path) == name
    assert os.sep not in result_name(path)
