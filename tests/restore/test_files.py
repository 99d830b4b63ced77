"""Which files are meant, and where their results go: links, names, patterns, pages, places."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.formats import ENDINGS, FORMATS
from dinoir_plugin.restore.files import find
from dinoir_plugin.restore.places import without_unwritable


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Makes images in a folder `in`, which the test stands beside."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / 'in' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (6, 4)).save(path, 'JPEG')
        return tmp_path / 'in'

    return make


def targets(*sources, to='out', **options):
    return [str(item.target) for item in find([str(source) for source in sources], to, **options).items]


def refused(*sources, **options):
    return {str(path): problem for path, problem in find([str(source) for source in sources], 'out', **options).refused}


LINKS = [('in',), ('in/**/*.jpg',), ('in/**',)]


@pytest.mark.parametrize('sources', LINKS)
def test_report_38_links_are_followed_by_one_rule_in_folders_and_patterns(images, tmp_path, sources):
    images('a.jpg', 'sub/b.jpg')
    (tmp_path / 'other').mkdir()
    shutil.copy('in/a.jpg', 'other/c.jpg')
    Path('in/linked').symlink_to(tmp_path / 'other')
    Path('in/d.jpg').symlink_to('a.jpg')
    expected = ['out/a.jpg', 'out/d.jpg', 'out/linked/c.jpg', 'out/sub/b.jpg']
    assert targets(*sources) == expected
    # loops: to the folder itself, to one above, and by way of each other
    Path('in/sub/self').symlink_to('.')
    Path('in/sub/up').symlink_to('..')
    Path('other/back').symlink_to(tmp_path / 'in')
    assert targets(*sources) == expected
    loops = refused(*sources)
    if sources != ('in/**/*.jpg',):
        assert set(loops) == {'in/sub/self', 'in/sub/up', 'in/linked/back'}
        assert all('leads back to a folder that it lies in' in problem for problem in loops.values())


def test_report_31_dead_links_are_named(images):
    images('a.jpg')
    for name, place in (('dead.jpg', 'nowhere.jpg'), ('round.jpg', 'round.jpg'), ('gone', 'nowhere'),
                        ('notes.txt', 'nowhere.txt')):  # fmt: skip
        (Path('in') / name).symlink_to(place)
    job = find(['in'], 'out')
    assert [path.name for path, problem in job.refused if problem == 'the link leads nowhere'] == [
        'dead.jpg', 'gone', 'round.jpg'
    ]  # fmt: skip
    assert len(job.items) == 1 and job.other_files == 1
    assert set(refused('in/*.jpg')) == {'in/dead.jpg', 'in/round.jpg'}
    assert refused('in/dead.jpg', 'in/a.jpg') == {'in/dead.jpg': 'the link leads nowhere'}


def test_report_39_names_with_dots_stay_whole(images):
    images('report.page1', 'a.b.jpg', '0001_0.8_0.2', 'v1.2.png')
    assert targets('in/report.page1') == ['out/report.page1.jpg']
    assert targets('in/0001_0.8_0.2', ending='png') == ['out/0001_0.8_0.2.png']
    assert targets('in') == ['out/a.b.jpg', 'out/v1.2.png']
    Path('in/no.image').write_text('words')
    assert 'it is none' in refused('in/no.image', 'in/a.b.jpg')['in/no.image']


@pytest.mark.parametrize('out', ['results.v2/', './results.v2/', 'results.v2/.'])
def test_report_39_what_ends_in_a_slash_is_a_folder(images, out):
    images('a.jpg')
    assert [Path(target) for target in targets('in/a.jpg', to=out)] == [Path('results.v2/a.jpg')]
    with pytest.raises(OptionsError, match=r"not written as '\.v2'.*the name of a folder ends in /"):
        find(['in/a.jpg'], 'results.v2')
    Path('results.v2').mkdir()
    assert targets('in/a.jpg', to='results.v2') == ['results.v2/a.jpg']


def test_report_40_files_of_one_stem_are_named_and_the_others_restored(images):
    images('scan.bmp', 'scan.png', 'x.jpg', 'sub/scan.bmp', 'y.dib', 'y.pgm', 'y.png')
    job = find(['in'], 'out')
    assert [str(item.source) for item in job.items] == ['in/x.jpg', 'in/sub/scan.bmp']
    found = {str(path): problem for path, problem in job.refused}
    assert set(found) == {'in/scan.bmp', 'in/scan.png', 'in/y.dib', 'in/y.pgm', 'in/y.png'}
    assert 'scan.png, as would in/scan.png. Restore it alone' in found['in/scan.bmp']
    assert 'as would in/y.dib and in/y.pgm' in found['in/y.png']
    assert set(refused('in', compare=True)) == set(found)
    with pytest.raises(OptionsError, match=r'in/scan\.bmp would become .*scan\.png, as would in/scan\.png'):
        find(['in/scan.bmp', 'in/scan.png'], 'out')


def test_letters_are_found_composed_and_apart(images):
    apart, whole = (unicodedata.normalize(form, 'Käse é.jpg') for form in ('NFD', 'NFC'))
    images(f'{apart[:-4]}/{apart}')
    for text in (f'in/{whole[:-4]}', f'in/{whole[:-4]}/{whole}', 'in/**/K\u00e4se*.jpg', f'in/{apart[:-4]}/*'):
        assert [os.path.basename(target) for target in targets(text)] == [apart]


def test_home_is_put_in_full_where_no_file_is_called_so(images, tmp_path, monkeypatch):
    images('a.jpg')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert targets('~/in', to='~/out') == [str(tmp_path / 'out' / 'a.jpg')]
    assert targets('~/in/*.jpg') == ['out/a.jpg']
    images('~/b.jpg')
    monkeypatch.chdir(tmp_path / 'in')
    assert targets('~', to='../out') == ['../out/b.jpg']


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems take no such names')
def test_names_that_are_no_utf8_keep_their_bytes(images):
    folder = images('a.jpg')
    shutil.copy(folder / 'a.jpg', os.fsencode(folder) + b'/gr\xfc\xdfe.jpg')
    for source in ('in', 'in/*', 'in/gr*'):
        assert b'out/gr\xfc\xdfe.jpg' in [os.fsencode(target) for target in targets(source)]


def test_all_endings_of_a_format_are_known(images):
    names = [f'{number}{ending}' for number, ending in enumerate(ENDINGS)]
    images(*names, 'NOTES.TXT', 'UP.JFIF')
    job = find(['in'], 'out')
    assert {item.source.name for item in job.items} == {*names, 'UP.JFIF'} and job.other_files == 1
    written = {item.source.name: item.target.name for item in job.items}
    assert written['UP.JFIF'] == 'UP.jpg'
    assert {Path(written[f'{ENDINGS.index(ending)}{ending}']).suffix for ending in FORMATS['JPEG']} == {'.jpg', '.jpeg'}
    assert targets('in/UP.JFIF', to='x.jfif') == ['x.jfif']


def test_patterns_go_no_deeper_than_they_say(images):
    images('a.jpg', 's/b.jpg', 's/t/c.jpg', 's/[1].jpg', '.h/d.jpg', 's/.e.jpg')
    assert targets('in/*.jpg') == ['out/a.jpg']
    assert targets('in/*/*.jpg') == ['out/s/[1].jpg', 'out/s/b.jpg']
    assert targets('in/s/[ab].jpg') == ['out/b.jpg']
    assert targets('in/s/[1].jpg') == ['out/[1].jpg']
    assert targets('in/**/t/*.jpg') == ['out/s/t/c.jpg']
    assert targets('*/a.jp?') == ['out/in/a.jpg']
    assert len(targets('in/**/*.jpg')) == 4


def test_pages_get_names_of_their_own(images):
    folder = images('a.jpg')
    frames = [Image.fromarray(np.full((4, 6, 3), grey, np.uint8)) for grey in range(12)]
    frames[0].save(folder / 'pages.tif', save_all=True, append_images=frames[1:])
    frames[0].save(folder / 'moves.gif', save_all=True, append_images=frames[1:3])
    job = find(['in'], 'out', pages=True)
    names = [item.target.name for item in job.items]
    assert names[:4] == ['a.jpg', 'moves_1.png', 'moves_2.png', 'moves_3.png']
    assert names[4:] == [f'pages_{number:02d}.tif' for number in range(1, 13)]
    assert [item.number for item in job.items] == [None, 0, 1, 2, *range(12)]
    assert [item.target.name for item in find(['in/moves.gif'], 'x.png', pages=True).items] == [
        'x_1.png', 'x_2.png', 'x_3.png'
    ]  # fmt: skip
    Path('in/b.jpg').write_text('words')
    assert 'it is none' in refused('in', pages=True)['in/b.jpg']


def test_report_48_a_place_that_cannot_be_written_is_refused_before_the_work(images, tmp_path):
    folder = images('a.jpg', 'sub/b.jpg', f'{"n" * 245}.jpg')
    Path('file').write_text('in the way')
    for out in ('file/x', '/proc/nothing', '/dev/null/x'):
        with pytest.raises(OptionsError, match=f'OUT: .*{out}.* cannot be written: .*Nothing was restored'):
            without_unwritable(find(['in'], out), False, False)
    Path('out').mkdir()
    Path('out/sub').write_text('in the way')
    job = without_unwritable(find([str(folder)], 'out'), True, False)
    assert [item.target.name for item in job.items] == ['a.jpg']
    problems = {path.name: problem for path, problem in job.refused}
    assert 'is longer than 255 bytes' in problems[f'{"n" * 245}.jpg']
    assert 'out/sub/b.jpg cannot be written: ' in problems['b.jpg']
    assert sorted(os.listdir('out')) == ['sub']
    without_unwritable(find(['in/a.jpg'], 'new/deep/folder/'), False, False)
    assert not Path('new').exists()


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write everywhere')
def test_report_48_a_folder_without_permission_is_refused_before_the_work(images):
    images('a.jpg')
    Path('out').mkdir(mode=0o500)
    with pytest.raises(OptionsError, match='Permission denied'):
        without_unwritable(find(['in'], 'out'), False, False)
