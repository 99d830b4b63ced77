"""Hold the options that a checkpoint was trained with against those of today."""

from dinoir_plugin.core.network_file import Description
from dinoir_plugin.core.written import WrittenFloat
from dinoir_plugin.guidance.trained_with import SHOWN, other_options

OPTIONS = {
    'type': 'X', 'dim': 8, 'guide_at': ['a', 'b'], 'psf': {'dim': 4},
    'encoder': {'name': 'vit', 'weights': 'random', 'layers': {'shallow': 0, 'deep': 3}},
}  # fmt: skip


def test_the_same_options_however_they_are_written():
    today = {**OPTIONS, 'dim': WrittenFloat(8.0, '8.0'), 'guide_at': ('a', 'b'), 'fusion': None}
    today['encoder'] = {**OPTIONS['encoder'], 'weights': '/elsewhere.pth'}
    assert not other_options(today, Description(OPTIONS), 'x.pth')
    assert not other_options(OPTIONS, None, 'x.pth')


def test_what_changes_no_tensor_is_named():
    today = {**OPTIONS, 'guide_at': ['b', 'a'], 'fusion': {'attention': 'cosine'}}
    del today['psf']
    assert other_options(today, Description(OPTIONS), 'x.pth') == (
        'network_g has other options than x.pth was trained with. guide_at: [\'b\', \'a\'] here, [\'a\', \'b\'] there; '
        'fusion.attention: cosine here, not given there; psf.dim: not given here, 4 there'
    )


def test_a_network_of_another_kind_is_not_compared_and_long_lists_end():
    assert not other_options({'type': 'Y', 'dim': 9}, Description(OPTIONS), 'x.pth')
    many = {'type': 'X', **{f'option{number}': 1 for number in range(SHOWN)}}
    assert other_options(many, Description(OPTIONS), 'x.pth').endswith('; and 6 more')
