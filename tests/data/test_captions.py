"""The table of captions: written, read, found by an image's name, and what is wrong in it."""

import pytest
import torch
from conftest_data import make_lmdb, write

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.captions import Caption, read_captions, write_captions
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset

HEADER = 'filepath\ttitle\n'


@pytest.fixture
def folders(tmp_path, clean_images):
    for name in ('chelsea', 'coffee'):
        write(tmp_path / 'clean' / f'{name}.png', clean_images[name][:40, :40])
        write(tmp_path / 'rain' / f'{name}.png', clean_images[name][:40, :40])
    return tmp_path


def options(folders, captions, phase='train', suffix=''):
    clean, rain = (f'{folders / name}{suffix}' for name in ('clean', 'rain'))
    tasks = {'noisy': {'dataroot_gt': clean, 'degradation': {'type': 'gaussian_noise', 'sigma': 25}},
             'rainy': {'dataroot_gt': clean, 'dataroot_lq': rain}}  # fmt: skip
    return {'phase': phase, 'tasks': tasks, 'gt_size': 32, 'batch_size_per_gpu': 4, 'captions': str(captions)}


def lines(folders, *more):
    words = {'noisy': 'clean', 'rainy': 'rain'}
    rows = [f'/elsewhere/{root}/{name}.png\ta {name}: {word}' for word, root in words.items()
            for name in ('chelsea', 'coffee')]  # fmt: skip
    path = folders / 'captions.csv'
    path.write_text(HEADER + '\n'.join([*rows, *more]) + '\n')
    return path


def test_what_is_written_is_read(tmp_path):
    captions = [Caption('a b.png', 'a "cat", and\u00e9', 'hazy', 2), Caption('c.png', '', 'noisy', 3)]
    write_captions(tmp_path / 'x.csv', captions)
    assert read_captions(str(tmp_path / 'x.csv'), 'captions') == captions
    assert (tmp_path / 'x.csv').read_text().startswith(HEADER)


@pytest.mark.parametrize('suffix', ['', '.lmdb'])
@pytest.mark.parametrize('phase', ['train', 'val'])
def test_items_have_the_caption_of_their_image(folders, suffix, phase):
    if suffix:
        for name in ('clean', 'rain'):
            make_lmdb(folders / name)
    dataset = MixedDegradationDataset(options(folders, lines(folders), phase, suffix))
    items = [dataset[number] for number in range(4)]
    assert {(item['task'], item['caption']) for item in items} == {
        (task, f'a {name}') for task in ('noisy', 'rainy') for name in ('chelsea', 'coffee')
    }
    for item in items:
        assert item['caption'].removeprefix('a ') in item['lq_path']
    assert torch.utils.data.default_collate(items)['caption'] == [item['caption'] for item in items]


def test_without_a_table_there_are_none(folders):
    given = options(folders, '')
    del given['captions']
    assert 'caption' not in MixedDegradationDataset(given)[0]


@pytest.mark.parametrize(('content', 'said'), [
    ('file\ttitle\n', r"line 1: expected the columns filepath and title, tab-separated, got \['file', 'title'\]"),
    ('filepath,title\n', r"line 1: expected the columns filepath and title, tab-separated, got \['filepath,title'\]"),
    ('', 'line 1: expected the columns'),
    (HEADER + 'a.png\ta cat: noisy\nb.png a dog: noisy\n', 'line 3: expected a file and a title, .* got 1 columns'),
    (HEADER + 'a.png\ta cat\n', "line 2: expected '<caption>: <word>', with one ': ', got 'a cat'"),
    (HEADER + 'a.png\ta cat: a dog: noisy\n', "line 2: expected '<caption>: <word>', with one"),
    (HEADER + 'a.png\ta cat: nosy\n', "line 2: no task is called 'nosy'. did you mean 'noisy'?"),
    (HEADER + 'a.png\ta cat: noisy\n', "2 images of task 'noisy' have no caption in .*: chelsea, coffee"),
    (b'\xff\xfe\xff'.decode('latin1'), 'line 1: expected the columns'),
])  # fmt: skip
def test_what_is_wrong_in_it_is_named_with_its_line(content, said, folders):
    path = folders / 'captions.csv'
    path.write_text(content, encoding='utf-8')
    with pytest.raises(OptionsError, match=rf'^captions: .*{said}') as error:
        MixedDegradationDataset(options(folders, path))
    assert '\n' not in str(error.value)


def test_a_table_that_is_not_there_or_no_text(folders):
    with pytest.raises(OptionsError, match=r'captions: no such file: .*none\.csv\. dinoir prepare captions'):
        MixedDegradationDataset(options(folders, folders / 'none.csv'))
    with pytest.raises(OptionsError, match=r'captions: .* cannot be read as a table'):
        MixedDegradationDataset(options(folders, folders / 'clean' / 'chelsea.png'))


def test_two_captions_of_one_image_are_refused(folders):
    path = lines(folders, 'other/chelsea.png\tanother cat: rainy')
    with pytest.raises(OptionsError, match=r"captions: .*, line 6: 'chelsea' of task 'rainy' has another"):
        MixedDegradationDataset(options(folders, path))
    MixedDegradationDataset(options(folders, lines(folders, 'other/chelsea.png\ta chelsea: rainy')))
