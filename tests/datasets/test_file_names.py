"""Names in releases: backslashes of archives, links, loops, endings, home."""

from __future__ import annotations

import io
import logging
import os
import tarfile
import zipfile

import cv2
import pytest

from dinoir_plugin.cli import main
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.planning import list_images, plan_splits
from dinoir_plugin.datasets.prepare import prepare
from dinoir_plugin.imaging.formats import ENDINGS

NAMES = [f'RainTrainL\\{stem}-{number}.png' for stem in ('rain', 'norain') for number in (1, 2)]


@pytest.mark.parametrize('kind', ['zip', 'tar', 'folder'])
def test_report_37_names_with_backslashes_are_folders_and_names(photograph, tmp_path, request_for, read_root, kind):
    source = tmp_path / f'win.{kind}'
    contents = {name: cv2.imencode('.png', photograph(number))[1].tobytes() for number, name in enumerate(NAMES)}
    if kind == 'zip':
        with zipfile.ZipFile(source, 'w') as archive:
            archive.writestr('RainTrainL\\', b'')
            for name, content in contents.items():
                archive.writestr(name, content)
    elif kind == 'tar':
        with tarfile.open(source, 'w') as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        source.mkdir()
        for name, content in contents.items():
            (source / name).write_bytes(content)
    rows = prepare(CATALOGUE['rain100l'], request_for(source))
    assert [row.images for row in rows] == [2, 2]
    assert set(read_root(rows[0].root)) == {'norain-1', 'norain-2'}


def test_report_37_backslashes_do_not_lead_out_of_the_folder(tmp_path, request_for):
    with zipfile.ZipFile(tmp_path / 'win.zip', 'w') as archive:
        archive.writestr('a\\..\\..\\..\\rain-1.png', b'x')
    with pytest.raises(PreparationError, match='outside of the folder'):
        prepare(CATALOGUE['rain100l'], request_for(tmp_path / 'win.zip'))


def test_report_38_links_are_followed_and_loops_named(tmp_path, caplog):
    real, release = tmp_path / 'real', tmp_path / 'release'
    (real / 'low').mkdir(parents=True)
    (real / 'low' / '1.png').write_bytes(b'')
    (release / 'our485').mkdir(parents=True)
    (release / 'our485' / 'low').symlink_to(real / 'low')
    (release / 'our485' / 'high').symlink_to(real / 'low')
    (release / 'our485' / 'up').symlink_to('..')
    (real / 'low' / 'back').symlink_to(release)
    with caplog.at_level(logging.WARNING):
        files = list_images([release])
    assert [file.name for file in files] == ['release/our485/high/1.png', 'release/our485/low/1.png']
    assert len(caplog.records) == 3 and all('leads back to a folder' in text for text in caplog.messages)
    assert len(plan_splits(CATALOGUE['lol'], files, True)[0].scenes) == 1


def test_report_31_dead_links_are_named_with_the_broken_images(photograph, write, request_for):
    folder = write('our485/low/1.png', photograph(0)).parent
    write('our485/high/1.png', photograph(1))
    write('our485/high/2.png', photograph(1))
    (folder / '2.png').symlink_to('nowhere.png')
    with pytest.raises(PreparationError, match=r'our485/low/2\.png: the link leads nowhere'):
        prepare(CATALOGUE['lol'], request_for())


def test_endings_are_those_of_all_rooms(tmp_path):
    for number, ending in enumerate(ENDINGS):
        (tmp_path / f'{number}{ending.upper() if number % 2 else ending}').write_bytes(b'')
    files = list_images([tmp_path])
    assert len(files) == len(ENDINGS)
    assert len(plan_splits(CATALOGUE['kodak24'], files, True)[0].scenes) == len(ENDINGS)


def test_home_is_put_in_full(photograph, write, tmp_path, monkeypatch, capsys):
    write('kodim01.png', photograph(0))
    monkeypatch.setenv('HOME', str(tmp_path))
    words = ['prepare', 'kodak24', '~/release', '--out', '~/made', '--partial', '--workers', '1']
    assert main(words) == 0, capsys.readouterr().err
    assert os.listdir(tmp_path / 'made') == ['kodak24.lmdb']
