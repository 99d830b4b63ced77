"""What a look at all images finds, by their headers or decoded."""

import numpy as np
import pytest
from conftest_data import write

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.image_check import Decoded, decode_all, decode_first, kinds_in, refuse_bad, size_in, survey
from dinoir_plugin.data.mixed_degradation_dataset import MixedDegradationDataset


@pytest.fixture
def task(options, tmp_path):
    """Pairs of 40x60, 30x80 and 60x50 pixels, one of them grey with 16 bits, and one that differ in size."""
    for name, shape in (('a', (40, 60, 3)), ('b', (30, 80, 3)), ('c', (60, 50))):
        image = np.full(shape, 7, np.uint16 if name == 'c' else np.uint8)
        for folder in ('gt', 'lq'):
            write(tmp_path / folder / f'{name}.png', image)
    write(tmp_path / 'gt' / 'd.png', np.zeros((50, 60, 3), np.uint8))
    write(tmp_path / 'lq' / 'd.png', np.zeros((50, 61, 3), np.uint8))
    roots = {'dataroot_gt': str(tmp_path / 'gt'), 'dataroot_lq': str(tmp_path / 'lq')}
    (task,) = MixedDegradationDataset(options(tasks={'x': roots}))._tasks
    return task


class Bar:
    count = 0

    def update(self):
        self.count += 1


def test_sizes_and_problems_are_found_by_the_headers(task):
    bar = Bar()
    found = survey(task, 30, bar=bar)
    assert (found.smallest, found.largest, found.bad_items, bar.count) == ((30, 80), (60, 50), 1, 4)
    (problem,) = found.problems
    assert problem.endswith('gt/d.png is 60x50') and 'lq/d.png is 61x50, but' in problem
    found = survey(task, 31)
    assert found.bad_items == 2 and len(found.problems) == 2
    assert found.problems[0].endswith('gt/b.png is 80x30, smaller than gt_size 31')
    with pytest.raises(OptionsError, match=r'^tasks\.x: 2 of 4 images cannot be used: .*b\.png is 80x30.*; .*d\.png'):
        refuse_bad(task, found)
    with pytest.raises(OptionsError, match=r'3 of 4 .*; .*; .*[^.]\.$'):
        refuse_bad(task, survey(task, 50)._replace(bad_items=3, problems=['a', 'b', 'c']))
    with pytest.raises(OptionsError, match=r'a; b; c; \.\.\.'):
        refuse_bad(task, found._replace(problems=['a', 'b', 'c', 'd']))
    refuse_bad(task, found._replace(problems=[]))


def test_decoded_files_are_known_by_their_paths(task, tmp_path):
    (tmp_path / 'lq' / 'b.png').write_bytes((tmp_path / 'lq' / 'b.png').read_bytes()[:60])
    decoded = decode_all([task, task])
    assert set(decoded) == {str(path) for path in tmp_path.rglob('*.png')}
    assert decoded[str(tmp_path / 'gt' / 'a.png')] == Decoded((40, 60), '8 bit')
    assert decoded[str(tmp_path / 'lq' / 'c.png')] == Decoded((60, 50), '16 bit grey')
    assert 'lq/b.png: ' in decoded[str(tmp_path / 'lq' / 'b.png')]
    assert kinds_in(decoded, task) == ['16 bit grey', '8 bit']
    found = survey(task, 30, size_in(decoded))
    assert (found.smallest, found.largest, found.bad_items) == ((30, 80), (60, 50), 2)
    assert [entry.kind for entry in decode_first(task)] == ['8 bit', '8 bit']
    (tmp_path / 'lq' / 'a.png').write_bytes(b'')
    with pytest.raises(OptionsError, match=r'^tasks\.x: the first image cannot be read: .*lq/a\.png'):
        decode_first(task)
