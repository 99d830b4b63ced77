"""Which image belongs to which, by their names alone."""

import pytest

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.meta_info import Listed
from dinoir_plugin.data.pairing import Pair, add_depth, add_medium, clean_only, pair_by_name, pair_many_to_one
from dinoir_plugin.data.sources import Source


class Names:
    """A source that knows names only."""

    def __init__(self, root, *keys):
        self.root, self.keys = root, list(keys)

    def __len__(self):
        return len(self.keys)

    def find(self, key):
        return self.keys.index(key) if key in self.keys else None


def listed(*names):
    return [Listed(name, ((name, None),)) for name in names]


def refusal(call, *arguments):
    with pytest.raises(OptionsError) as caught:
        call(*arguments)
    return str(caught.value)


def test_names_are_paired_by_the_template_in_the_order_of_the_clean_images():
    gt, lq = Names('gt', 'a', 'b', 'c'), Names('lq', 'cx2', 'bx2', 'ax2')
    assert pair_by_name(gt, lq, '{}x2', None, 't') == [Pair(0, 2), Pair(1, 1), Pair(2, 0)]
    assert pair_by_name(gt, lq, '{}x2', listed('c', 'a'), 't') == [Pair(0, 2), Pair(2, 0)]
    assert clean_only(gt, None, 't') == [Pair(0), Pair(1), Pair(2)] and clean_only(gt, listed('b'), 't') == [Pair(1)]
    assert refusal(pair_by_name, gt, lq, 'x2', None, 't').startswith('t.filename_tmpl: expected a text with {}')


def test_images_without_partner_are_counted_and_the_first_three_named():
    gt, lq = Names('gt', 'a', 'b', 'c', 'd'), Names('lq', 'a', 'x', 'y', 'z')
    assert refusal(pair_by_name, gt, lq, '{}', None, 't') == (
        't.dataroot_lq: 3 clean images of gt have no partner in lq: b (expected b), c (expected c), d (expected d).'
    )
    assert refusal(pair_by_name, Names('gt', *'bcdef'), lq, '{}', None, 't').endswith('(expected d), ...')
    assert refusal(pair_by_name, Names('gt', 'a'), lq, '{}', None, 't') == (
        't.dataroot_gt: 3 degraded images of lq have no partner in gt: x, y, z.'
    )
    assert refusal(clean_only, gt, listed('a', 'q'), 't') == (
        't.meta_info_file: 1 listed names are not in dataroot_gt gt: q.'
    )


def test_several_hazy_images_share_a_clean_one():
    gt, lq = Names('gt', '1400', '1401', '1402'), Names('lq', '1401_1', '1400_0.8_0.2', '1401_2', '1402')
    assert pair_many_to_one(gt, lq, None, 't') == [Pair(1, 0), Pair(0, 1), Pair(1, 2), Pair(2, 3)]
    assert pair_many_to_one(gt, lq, listed('1401_2'), 't') == [Pair(1, 2)]
    assert refusal(pair_many_to_one, Names('gt', '1401'), lq, None, 't') == (
        't.dataroot_gt: 2 hazy images of lq have no partner in gt: 1400_0.8_0.2 (expected 1400), 1402 (expected 1402).'
    )


def test_depth_maps_go_by_the_names_of_the_clean_images():
    gt, pairs = Names('gt', 'a', 'b'), [Pair(1, 5), Pair(0)]
    assert add_depth(pairs, gt, Names('depth', 'b', 'x', 'a'), 't') == [Pair(1, 5, 0), Pair(0, None, 2)]
    assert refusal(add_depth, pairs, gt, Names('depth', 'a'), 't') == (
        't.dataroot_depth: 1 images of gt have no depth map in depth: b.'
    )


def test_folders_in_an_lmdbs_keys_may_stand_as_one_name():
    class Keys(Source):
        def __init__(self, *keys):
            super().__init__('root', list(keys))

        def read(self, number):
            raise NotImplementedError

        path = size = read

    pairs = pair_by_name(Keys('clip/1', 'clip/2'), Keys('clip_1', 'clip/2'), '{}', None, 'tasks.x')
    assert [pair.lq for pair in pairs] == [0, 1]
    found = add_medium(pairs, Keys('clip/1', 'clip/2'), Keys('clip_2', 'clip_1'), 'tasks.x')
    assert [pair.medium for pair in found] == [1, 0]
