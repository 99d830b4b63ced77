"""``dinoir restore`` and ``info`` on what people have: names, notes, pages, several processes, places."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dinoir_plugin import Restorer
from dinoir_plugin.cli import main
from dinoir_plugin.core import console
from dinoir_plugin.imaging.image_file import read_image
from dinoir_plugin.restore import job
from dinoir_plugin.restore.claims import NAME
from tests.restore.conftest import dinoir


@pytest.fixture
def restore(checkpoint, tmp_path, monkeypatch):
    """Restores in this process, standing in a folder of its own; gives the exit status."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        return main(['restore', *map(str, words), '--checkpoint', str(checkpoint), '--quiet'])

    return call


@pytest.fixture
def small(photo):
    return Image.fromarray(photo[:32, :40])


@pytest.mark.parametrize('name', ['photo.jpg', 'photo_dpi.png', 'photo.tif', 'photo.webp', 'photo.bmp'])
def test_report_42_300_dots_to_an_inch_stay(restore, small, name):
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    small.save(name, dpi=(300, 300), **({'exif': exif} if name.endswith('webp') else {}))
    assert restore(name, 'out/') == 0
    (target,) = Path('out').iterdir()
    assert read_image(target).resolution == (300, 300)
    with Image.open(target) as image:
        assert name.endswith('webp') or np.allclose(image.info['dpi'], 300, atol=0.01)


def test_report_39_and_40_names_stay_and_what_clashes_is_named(restore, small, capsys):
    Path('in').mkdir()
    for name in ('report.page1', 'in/scan.bmp', 'in/scan.png', 'in/x.jpg'):
        with open(name, 'wb') as file:
            small.save(file, 'JPEG')
    assert restore('report.page1', 'results.v2/') == 0
    assert os.listdir('results.v2') == ['report.page1.jpg']
    assert restore('in', 'out') == 1
    assert os.listdir('out') == ['x.jpg']
    said = capsys.readouterr()
    assert '1 restored, 2 failed' in said.out
    assert 'in/scan.bmp: would become ' in said.err and 'in/scan.png: would become ' in said.err


def test_report_31_and_38_links_are_named(restore, small, capsys):
    Path('in').mkdir()
    small.save('in/a.png')
    Path('in/dead.png').symlink_to('nowhere.png')
    Path('in/loop').symlink_to('.')
    assert restore('in', 'out') == 1
    said = capsys.readouterr()
    assert os.listdir('out') == ['a.png'] and '1 restored, 2 failed' in said.out
    assert 'in/dead.png: the link leads nowhere' in said.err and 'in/loop: the link leads back' in said.err


@pytest.mark.parametrize('out', ['file/x', '/proc/nothing'])
def test_report_48_a_place_that_cannot_be_written_is_said_before_the_work(restore, small, monkeypatch, capsys, out):
    Path('file').write_text('in the way')
    small.save('a.png')
    monkeypatch.setattr(Restorer, 'from_checkpoint', lambda *_, **__: pytest.fail('the network was loaded'))
    assert restore('a.png', f'{out}/') == 2
    assert 'cannot be written' in capsys.readouterr().err


def test_report_48_what_a_format_cannot_hold_is_said_before_the_work(restore, small, monkeypatch, capsys):
    small.convert('RGBA').save('a.png')
    monkeypatch.setattr(Restorer, 'restore_decoded', lambda *_: pytest.fail('it was restored'))
    assert restore('a.png', 'a.jpg') == 1
    assert 'a.png: JPEG holds no transparency' in capsys.readouterr().err


def test_report_49_two_processes_share_a_folder(checkpoint, tmp_path, small):
    folder = tmp_path / 'in'
    folder.mkdir()
    for number in range(24):
        small.rotate(90 * (number % 4), expand=True).save(folder / f'{number}.png')
    words = [sys.executable, '-m', 'dinoir_plugin', 'restore', str(folder), str(tmp_path / 'out'), '--checkpoint',
             str(checkpoint), '--quiet', '--resume']  # fmt: skip
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(text.split()[0]) for text in said) == 24, said
    assert sorted(os.listdir(tmp_path / 'out')) == sorted(os.listdir(folder))


def test_report_49_what_another_process_did_meanwhile_is_not_done_again(restore, small, monkeypatch, capsys):
    Path('in').mkdir()
    for name in 'abc':
        small.save(f'in/{name}.png')
    original = job._restore

    def with_company(item, *arguments):
        original(item, *arguments)
        Path('out/c.png').write_bytes(b'made by another')

    monkeypatch.setattr(job, '_restore', with_company)
    assert restore('in', 'out', '--resume') == 0
    assert '2 restored, 1 there already' in capsys.readouterr().out
    assert Path('out/c.png').read_bytes() == b'made by another' and NAME not in os.listdir('out')


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems take no such names')
def test_report_50_paths_that_are_no_utf8_are_printed(checkpoint, tmp_path):
    strange = os.fsencode(tmp_path) + b'/gr\xfcn.pth'
    os.link(checkpoint, strange)
    for encoding in ('utf-8:strict', 'ascii:strict'):
        done = dinoir('info', os.fsdecode(strange), env={**os.environ, 'PYTHONIOENCODING': encoding})
        assert done.returncode == 0 and 'gr\\udcfcn.pth: ' in done.stdout, done.stderr


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8', 'latin-1'])
def test_report_50_nothing_that_is_said_breaks_a_strict_terminal(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors='strict')
    monkeypatch.setattr(sys, 'stdout', stream)
    console.say('gr\udcfcn é 漢 \ud83d')
    stream.flush()
    assert stream.buffer.getvalue().endswith(b'\n')


def test_pages_are_restored_one_by_one(restore, photo, capsys):
    pages = [Image.fromarray(photo[top : top + 32, :40]) for top in (0, 20, 40)]
    pages[0].save('x.tif', save_all=True, append_images=pages[1:])
    assert restore('x.tif', 'out/') == 1
    assert 'holds 3 images' in capsys.readouterr().err
    assert restore('x.tif', 'out/', '--pages', 'all') == 0
    assert sorted(os.listdir('out')) == ['x_1.tif', 'x_2.tif', 'x_3.tif']
    assert len({read_image(f'out/x_{number}.tif').pixels.tobytes() for number in (1, 2, 3)}) == 3
    assert restore('x.tif', 'out/', '--pages', 'all', '--resume') == 0
    assert '0 restored, 3 there already' in capsys.readouterr().out
