"""Options files hold plain values, every key once."""

import pytest
import yaml

from dinoir_plugin.core.yaml_options import OptionsLoader


def read(text):
    return yaml.load(text, OptionsLoader)


def test_a_merge_may_be_overridden_once():
    options = read('base: &x {l: 1, k: 2}\nc: {<<: *x, l: 3}')
    assert options['c'] == {'l': 3, 'k': 2}


@pytest.mark.parametrize(
    ('text', 'key', 'line'),
    [
        ('a: 1\nb: 2\na: 3', 'a', 1),
        ('base: &x {l: 1}\nc:\n  <<: *x\n  l: 3\n  l: 4', 'l', 4),
        ('base: &x {l: 1}\nc:\n  l: 3\n  <<: *x\n  l: 4', 'l', 3),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, key, line):
    with pytest.raises(yaml.YAMLError, match=f"key '{key}' stands twice, first in line {line}"):
        read(text)


def test_code_and_keys_that_are_no_plain_values_are_refused():
    with pytest.raises(yaml.YAMLError, match=r"tag '!!python/object/apply:os\.system' is refused"):
        read('a: !!python/object/apply:os.system [ls]')
    with pytest.raises(yaml.YAMLError, match='a key has to be a plain value'):
        read('? [1, 2]\n: 3')
