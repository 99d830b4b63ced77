"""Numbers in messages."""

import pytest

from dinoir_plugin.core.constraints import Above, AtLeast
from dinoir_plugin.core.wording import told_apart


@pytest.mark.parametrize(
    ('one', 'other', 'said'),
    [(1.0, 2.0, ('1.0', '2.0')), (1.04, 1.01, ('1.04', '1.01')), (3.0, 3.0, (f'{3:.16f}',) * 2)],
)
def test_numbers_have_as_many_digits_as_make_them_different(one, other, said):
    assert told_apart(one, other, lambda number, digits: f'{number:.{digits}f}') == said


def test_bounds_are_written_in_full():
    assert AtLeast(1234567).words('a whole number') == 'a whole number of at least 1234567'
    assert Above(1e-7).words('a number') == 'a number above 1e-07'
