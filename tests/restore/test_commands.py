"""``dinoir restore`` and its neighbours, in processes of their own."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dinoir_plugin import Restorer
from dinoir_plugin.cli import main
from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.encoding import encode_image
from dinoir_plugin.imaging.image_file import DecodedImage, read_image
from dinoir_plugin.restore import job
from dinoir_plugin.restore.files import find
from dinoir_plugin.restore.job import reason
from tests.imaging.test_image_file import make_bad
from tests.restore.conftest import dinoir


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_a_folder_with_bad_files_in_it(folder, checkpoint, tmp_path, photo):
    """Alone or in a folder: the same result. What cannot be restored is named, and the rest is restored."""
    bad = tmp_path / 'in' / 'bad'
    bad.mkdir()
    messages = make_bad(bad, photo)
    (bad / 'folder.png').rmdir()
    Image.fromarray(photo).resize((1, 1)).save(folder / 'dot.png')
    Image.fromarray(photo).resize((1500, 17)).save(folder / 'strip.png')
    out = tmp_path / 'out'
    done = dinoir('restore', folder, out, '--checkpoint', checkpoint, '--compare')
    assert done.returncode == 1
    assert names(out) == sorted(
        name for stem, ending in (('a', 'png'), ('b', 'jpg'), ('sub/c', 'png'), ('dot', 'png'), ('strip', 'png'))
        for name in (f'{stem}.{ending}', f'{stem}_compare.jpg')
    )  # fmt: skip
    count = len(list(bad.iterdir()))
    assert f'5 restored, {count} failed, 1 other files left alone' in done.stdout
    for name, message in messages.items():
        assert name == 'folder.png' or any(name in line and message in line for line in done.stderr.splitlines())
    assert 'image/s' in done.stderr or 's/image' in done.stderr
    restorer = Restorer.from_checkpoint(checkpoint)
    for name in ('a.png', 'sub/c.png', 'dot.png', 'strip.png'):
        np.testing.assert_array_equal(read_image(out / name).pixels, restorer.restore(folder / name))
    with Image.open(out / 'a_compare.jpg') as image:
        assert image.width > 2 * 120 and image.height > 100


def test_nothing_is_overwritten_unless_asked(folder, checkpoint, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'a.png').write_text('mine')
    words = ('restore', folder, out, '--checkpoint', checkpoint, '--quiet')
    done = dinoir(*words)
    assert done.returncode == 2 and '1 results are there already' in done.stderr and names(out) == ['a.png']
    done = dinoir(*words, '--resume')
    assert done.returncode == 0 and '2 restored, 1 there already, 0 failed' in done.stdout
    assert (out / 'a.png').read_text() == 'mine'
    assert dinoir(*words, '--overwrite').returncode == 0
    assert read_image(out / 'a.png').pixels.shape == (100, 120, 3)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_moment_it_leaves_whole_files_and_goes_on(checkpoint, tmp_path, photo, how):
    images = tmp_path / 'in'
    images.mkdir()
    for number in range(40):
        Image.fromarray(np.roll(photo, number, axis=0)).save(images / f'{number:02d}.png')
    words = [sys.executable, '-m', 'dinoir_plugin', 'restore', images, tmp_path / 'out', '--checkpoint', checkpoint]
    rounds = 0
    while len(list((tmp_path / 'out').glob('*.png'))) < 40 and rounds < 3:
        before = len(list((tmp_path / 'out').glob('*.png')))
        process = subprocess.Popen([*map(str, words), '--resume'], stderr=subprocess.PIPE, text=True)
        while process.poll() is None and len(list((tmp_path / 'out').glob('*.png'))) < before + 5:
            time.sleep(0.01)
        process.send_signal(how)
        _, errors = process.communicate()
        assert process.returncode in (0, 130 if how is signal.SIGINT else -how), errors
        assert process.returncode != 130 or '--resume goes on from there' in errors
        for path in (tmp_path / 'out').glob('*.png'):
            assert read_image(path).pixels.shape == photo.shape
        rounds += 1
    assert dinoir(*words[3:], '--resume').returncode == 0
    restorer = Restorer.from_checkpoint(checkpoint)
    assert names(tmp_path / 'out') == names(images)
    np.testing.assert_array_equal(
        read_image(tmp_path / 'out' / '07.png').pixels, restorer.restore(images / '07.png')
    )


@pytest.mark.parametrize(
    ('words', 'settings'),
    [
        (['--tile', '128'], {'tile': 128}),
        (['--self-ensemble'], {'self_ensemble': True}),
        (['--local-statistics', '64'], {'local_statistics': 64}),
        (['--precision', 'bf16'], {'precision': 'bf16'}),
        (
            ['--device', 'cpu', '--tile', '128', '--local-statistics', '32'],
            {'device': 'cpu', 'tile': 128, 'local_statistics': 32},
        ),
    ],
)
def test_options_reach_the_result(checkpoint, tmp_path, photo, words, settings):
    large = tmp_path / 'large.png'
    Image.fromarray(np.tile(photo, (2, 2, 1))[:150, :170]).save(large)
    given = ['restore', str(large), str(tmp_path / 'x.png'), '--checkpoint', str(checkpoint), '--quiet']
    assert main([*given, *words]) == 0
    found = read_image(tmp_path / 'x.png').pixels
    np.testing.assert_array_equal(found, Restorer.from_checkpoint(checkpoint, **settings).restore(large))
    assert (found != Restorer.from_checkpoint(checkpoint).restore(large)).any()


@pytest.mark.parametrize('quality', [None, 40])
def test_jpegs_are_written_in_the_quality_asked_for(folder, checkpoint, tmp_path, quality):
    out = tmp_path / 'x.jpg'
    given = [] if quality is None else ['--quality', str(quality)]
    assert main(['restore', str(folder / 'a.png'), str(out), '--checkpoint', str(checkpoint), '--quiet', *given]) == 0
    restored = DecodedImage(Restorer.from_checkpoint(checkpoint).restore(folder / 'a.png'))
    assert out.read_bytes() == encode_image(restored, 'jpg', quality or 95)


def test_a_stop_between_comparison_and_result_leaves_the_image_to_be_done(folder, checkpoint, tmp_path, monkeypatch):
    words = ['restore', str(folder / 'a.png'), str(tmp_path / 'x.png'), '--checkpoint', str(checkpoint), '--compare']
    written = []

    def stop(path, data):
        if written:
            raise KeyboardInterrupt
        written.append(path.name)
        write_atomic(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(job, 'write_atomic', stop)
        assert main(words) == 130
    assert written == ['x_compare.jpg'] and not (tmp_path / 'x.png').exists()
    assert main([*words, '--resume']) == 0
    assert (tmp_path / 'x.png').exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['nowhere', 'out'], 'there is no file or folder nowhere'),
        (['in', 'out', '--format', 'jpgg'], "did you mean 'jpg'"),
        (['in', 'out', '--quality', '0'], '--quality: expected 1 to 100'),
        (['in', 'out', '--tile', '32'], 'expected \'auto\' or a number from 128'),
        (['in', 'out', '--tile', 'big'], "expected 'auto' or a number of pixels, got 'big'"),
        (['', 'out'], 'got nothing'),
        (['in', 'out', '--device', 'cuda:9'], "'cuda:9' is not to be had"),
        (['in', 'out', '--checkpoint', 'none.pth'], 'none.pth is missing'),
        (['in', 'out', '--options', 'in/notes.txt'], 'expected a mapping of options, got str'),
        (['in', 'in'], 'the original in/a.png would be replaced'),
        (['in', 'in/a.png'], 'expected a folder'),
        (['in/a.png', 'x.gif'], "not written as '.gif'"),
        (['in/none*', 'out'], 'no image found'),
    ],
)
def test_wrong_use_is_status_2_and_a_message(folder, checkpoint, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    given = [] if '--checkpoint' in words else ['--checkpoint', str(checkpoint)]
    try:
        status = main(['restore', *words, *given])
    except SystemExit as error:  # argparse's own way
        status = error.code
    assert status == 2 and message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_which_images_go_where(folder, tmp_path):
    out = tmp_path / 'in' / 'out'

    def pairs(*sources, ending=None, to=out):
        job = find([str(source) for source in sources], str(to), ending)
        return [(item.source.name, str(item.target.relative_to(tmp_path))) for item in job.items]

    out.mkdir()
    (out / 'old.png').touch()
    (folder / '.hidden.png').touch()
    assert pairs(folder) == [('a.png', 'in/out/a.png'), ('b.jpg', 'in/out/b.jpg'), ('c.png', 'in/out/sub/c.png')]
    assert pairs(folder / '**' / '*.png') == [('a.png', 'in/out/a.png'), ('c.png', 'in/out/sub/c.png')]
    several = pairs(folder / 'a.png', folder / 'sub', ending='tif')
    assert several == [('a.png', 'in/out/a.tif'), ('c.png', 'in/out/c.tif')]
    assert pairs(folder / 'a.png', to=tmp_path / 'new') == [('a.png', 'new/a.png')]
    assert pairs(folder / 'a.png', to=tmp_path / 'new.tif') == [('a.png', 'new.tif')]
    (folder / 'b.png').touch()
    (folder / 'g.gif').touch()
    assert ('g.gif', 'in/out/g.png') in pairs(folder)
    clash = find([str(folder)], str(out), 'png')
    assert {path.name for path, _ in clash.refused} == {'b.jpg', 'b.png'}
    assert all('would become' in problem or 'would both become' in problem for _, problem in clash.refused)
    assert 'a.png' in {item.source.name for item in clash.items}


def test_no_original_is_ever_replaced(tmp_path):
    (tmp_path / 'in' / 'a').mkdir(parents=True)
    for name in ('x.png', 'a/x.png', 'x_compare.jpg', 'x.jpg'):
        (tmp_path / 'in' / name).touch()
    one, out = str(tmp_path / 'in' / 'x.png'), str(tmp_path / 'out')
    with pytest.raises(OptionsError, match=r'the original .*x\.png would be replaced'):
        find([one, str(tmp_path / 'in' / 'a' / 'x.png')], str(tmp_path / 'in' / 'a'))
    find([one], str(tmp_path / 'in' / 'y.png'), compare=True)
    with pytest.raises(OptionsError, match=r'the original .*x_compare\.jpg would be replaced'):
        find([str(tmp_path / 'in' / 'x_compare.jpg')], str(tmp_path / 'in' / 'x.png'), compare=True)
    assert find([str(tmp_path / 'in')], out, compare=True).refused


def test_info_says_what_a_checkpoint_is(checkpoint, tmp_path):
    done = dinoir('info', checkpoint)
    assert done.returncode == 0
    for part in ('dinoir_plugin 0.1.0', 'params_ema', 'rain, fog', 'vit_small_patch14', '4 iterations', 'guide_at'):
        assert part in done.stdout
    done = dinoir('info', tmp_path)
    assert done.returncode == 2 and 'this is a folder' in done.stderr


@pytest.mark.parametrize(('error', 'said'), [
    (ValueError('x.png: not an image'), 'not an image'), (KeyError('exif'), "KeyError: 'exif'"), (OSError(), 'OSError'),
    (MemoryError(), 'more memory was asked for than there is. Try --tile 256'),
])  # fmt: skip
def test_errors_become_one_line_without_the_files_name(error, said):
    assert reason(error, Path('x.png')) == said


def test_a_method_that_learns_nothing(folder, tmp_path, monkeypatch, capsys):
    """With a stand-in for the package, which halves every image."""
    halves = SimpleNamespace(bm3d_rgb=lambda image, sigma, profile: image / 2)
    monkeypatch.setitem(sys.modules, 'bm3d', halves)
    words = ['restore', str(folder), str(tmp_path / 'out'), '--method', 'cbm3d']
    assert main(words) == 2 and '--sigma 25' in capsys.readouterr().err
    assert main([*words, '--sigma', '25']) == 0
    assert '3 restored, 0 failed' in capsys.readouterr().out
    degraded, restored = (read_image(path / 'a.png').pixels for path in (folder, tmp_path / 'out'))
    np.testing.assert_allclose(restored, degraded / 2, atol=0.51)
    monkeypatch.setitem(sys.modules, 'bm3d', None)
    assert main([*words, '--sigma', '25', '--overwrite']) == 2
    assert "pip install 'dinoir_plugin[bm3d]'" in capsys.readouterr().err
