"""What the catalogue says of the sets is what datasets/README.md says."""

import re
from pathlib import Path

import pytest

from dinoir_plugin.datasets.catalogue import CATALOGUE

LINES = (Path(__file__).parents[2] / 'datasets' / 'README.md').read_text().splitlines()
# set to the cells of its line: name, what it is, where it comes from, layout, images, roots, terms
ROWS = {name: cells for name in CATALOGUE for cells in [line.strip('| ').split(' | ') for line in LINES]
        if cells[0] == f'`{name}`'}  # fmt: skip


@pytest.mark.parametrize('name', CATALOGUE)
def test_counts_of_a_complete_release_are_those_of_the_readme(name):
    said = [int(number.replace(',', '')) for number in re.findall(r'\d[\d,]*', ROWS[name][4])]
    assert list(dict.fromkeys(said)) == list(
        dict.fromkeys(count for split in CATALOGUE[name].splits for count in split.counts or ())
    )
    assert CATALOGUE[name].many_to_one == (' of ' in ROWS[name][4])


@pytest.mark.parametrize('name', CATALOGUE)
def test_roots_and_keys_are_those_of_the_readme(name):
    dataset = CATALOGUE[name]
    paths, *keys = re.findall(r'`([^`]+)`', ROWS[name][5])
    roots = {str(dataset.root(split, role)) for split in dataset.splits for role in dataset.roles}
    pattern = re.sub(r'\{([^}]+)\}', lambda found: f'(?:{found[1].replace(",", "|")})', paths.replace('.', r'\.'))
    assert any(re.fullmatch(pattern, root) for root in roots)
    lists = [key for key in keys if key.endswith('.txt')]
    assert [key for key in keys if key not in lists] == ([f'{dataset.key_prefix}...'] if dataset.key_prefix else [])
    assert lists == (['did_mdn/test/{high,medium,light}.txt'] if name == 'did_mdn' else [])
