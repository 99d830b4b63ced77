"""From options to an object: keys are held against the signature, values of our own classes against annotations."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pytest
from torch import Tensor

from dinoir_plugin.core.constraints import AtLeast
from dinoir_plugin.core.construct import check_arguments, construct, registered_class
from dinoir_plugin.core.errors import OptionsError


class Thing:
    def __init__(
        self,
        dim: Annotated[int, AtLeast(1)],
        rate: float = 1.0,
        kind: Literal['a', 'b'] = 'a',
        sizes: Sequence[int] = (1,),
        inner: Mapping[str, int] | None = None,
        mixed: int | Tensor | None = None,
        given: str = '',
    ):
        if rate < 0:
            raise ValueError('too low')
        if rate > 9:
            raise OptionsError('rate', 'too high')
        self.values = dim, rate, kind, sizes, inner, mixed, given


Thing.__module__ = 'dinoir_plugin.somewhere'


class Foreign:
    def __init__(self, dim: int):
        self.dim = dim


def refusal(arguments):
    with pytest.raises(OptionsError) as caught:
        construct(Thing, 'a.b', arguments, given='x')
    return str(caught.value)


def test_good_arguments_reach_the_constructor_as_they_are():
    sizes, mixed = [1, 2], object()
    thing = construct(Thing, 'a.b', {'dim': 3, 'rate': 2, 'sizes': sizes, 'inner': None, 'mixed': mixed}, given='x')
    assert thing.values == (3, 2, 'a', sizes, None, mixed, 'x')


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({}, 'a.b.dim: this key is required, but missing.'),
        ({'dim': 1, 'rat': 2}, "a.b.rat: unknown option. did you mean 'rate'?"),
        ({'dim': 1, 'given': 'y'}, 'a.b.given: unknown option.'),
        ({'dim': 0}, 'a.b.dim: expected a whole number of at least 1, got 0.'),
        ({'dim': 'foo'}, "a.b.dim: expected a whole number of at least 1, got 'foo'."),
        ({'dim': 1, 'kind': 'c'}, "a.b.kind: expected one of a, b, got 'c'."),
        ({'dim': 1, 'sizes': [1, 'x']}, "a.b.sizes[1]: expected a whole number, got 'x'."),
        ({'dim': 1, 'inner': {'k': 0.5}}, 'a.b.inner.k: expected a whole number, got 0.5.'),
        ({'dim': 1, 'inner': 7}, 'a.b.inner: expected a block of options, got 7.'),
        ({'dim': 1, 'rate': 10}, 'a.b.rate: too high.'),
        ({'dim': 1, 'rate': -1}, 'a.b: cannot be built from these values (ValueError: too low).'),
    ],
)
def test_what_is_refused_is_named_by_its_path(arguments, said):
    assert refusal(arguments).startswith(said)


def test_annotations_of_others_are_not_trusted():
    assert construct(Foreign, 'a', {'dim': 'text'}).dim == 'text'
    with pytest.raises(OptionsError, match=r'^a\.dmi: unknown option'):
        check_arguments(Foreign, 'a', {'dmi': 1})


def test_a_registered_class_is_found_also_without_the_hosts_suffix():
    registry = {'Thing': Thing, 'Foreign_basicsr': Foreign, 'function': len}
    assert registered_class(registry, 'Thing') is Thing and registered_class(registry, 'Foreign') is Foreign
    assert registered_class(registry, 'function') is registered_class(registry, 'Other') is None
    assert registered_class(registry, None) is registered_class(registry, ['Thing']) is None
