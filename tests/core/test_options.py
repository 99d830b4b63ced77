"""One reader turns what an options file says into checked values, and names what is wrong by its path."""


import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from dinoir_plugin.core.constraints import Above, AtLeast, BareOff, Filled, FolderName, From, Within, Words
from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import Block, expected, fields_of, option, problems, read


@dataclass(frozen=True, kw_only=True)
class Leg:
    iters: Annotated[int, From(1)] = option('Length.', required=True)
    lr: Annotated[float, Above(0)] | None = option('Rate.')


@dataclass(frozen=True, kw_only=True)
class Trip:
    name: Annotated[str, FolderName()] = option('Folder.', required=True)
    total: Annotated[int, From(1)] = option('Length of all.', 0, required='train')
    suffix: str | None = option('Ending.')
    amp: Annotated[Literal['off', 'bf16'], BareOff()] = option('Precision.', 'off')
    legs: Sequence[Leg] = option('Parts.', ())
    first: Leg | None = option('The first.')
    losses: Mapping[str, Block | None] = option('Losses.', keys='*_opt')
    free: Mapping[str, Any] = option('Anything.')


GOOD = {'name': 'a', 'total': 5e3, 'amp': False, 'legs': [{'iters': 1}, {'iters': 2, 'lr': 1}], 'suffix': None,
        'first': None, 'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1}, 'old_opt': None}  # fmt: skip


def test_what_is_read_is_typed_and_complete():
    trip = read(Trip, GOOD)
    assert (trip.total, type(trip.total)) == (5000, int)
    assert trip.amp == 'off'
    assert trip.legs == (Leg(iters=1), Leg(iters=2, lr=1.0))
    assert trip.losses == {'pixel_opt': Block(type='L1Loss', arguments={'loss_weight': 1}), 'old_opt': None}
    assert trip.free is None
    assert list(fields_of(Trip)) == ['name', 'total', 'suffix', 'amp', 'legs', 'first', 'free']


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'nmae': 'x'}, "nmae: unknown option. did you mean 'name'?"),
        ({'name': None}, 'name: expected the name of a folder, not a path, got None.'),
        ({'name': '../a'}, "name: expected the name of a folder, not a path, got '../a'."),
        ({'total': 0}, 'total: expected a whole number from 1, got 0.'),
        ({'total': 2.5}, 'total: expected a whole number from 1, got 2.5.'),
        ({'total': True}, 'total: expected a whole number from 1, got True.'),
        ({'amp': 'bf61'}, "amp: expected one of off, bf16, got 'bf61'. did you mean 'bf16'?"),
        ({'amp': True}, 'amp: expected one of off, bf16, got True.'),
        ({'legs': {}}, 'legs: expected a list of blocks with iters, lr, got {}.'),
        ({'legs': [{'iters': 1}, {'lr': 1}]}, 'legs[1].iters: this key is required, but missing. Give a whole number'),
        ({'legs': [{'iters': 1, 'lr': 0}]}, 'legs[0].lr: expected a number above 0, got 0.'),
        ({'legs': [3]}, 'legs[0]: expected a block of options, got 3.'),
        ({'first': {'iters': 1, 'iter': 2}}, "first.iter: unknown option. did you mean 'iters'?"),
        ({'pixel_opt': {}}, 'pixel_opt.type: this key is required, but missing. Give text.'),
        ({'pixel_opt': 'L1Loss'}, "pixel_opt: expected a block of options, got 'L1Loss'."),
        ({'total': '5e-3'}, "total: expected a whole number from 1, got '5e-3'."),
        ({'suffix': True}, 'suffix: expected text, got True. YAML reads yes, no, on and off as true and false: put '),
    ],
)
def test_a_fault_is_named_by_its_path(changes, said):
    with pytest.raises(OptionsError) as caught:
        read(Trip, {**GOOD, **changes})
    assert str(caught.value).startswith(said)
    with pytest.raises(OptionsError) as caught:
        read(Trip, {**GOOD, **changes}, 'tour.trip')
    assert str(caught.value).startswith(f'tour.trip.{said}')


def test_all_faults_are_told_in_the_order_of_the_file():
    found = [str(problem) for problem in problems(Trip, {'total': 0, 'legs': [{}], 'x': 1}, 'trip')]
    assert [text.partition(': ')[0] for text in found] == ['trip.total', 'trip.legs[0].iters', 'trip.x', 'trip.name']


def test_some_options_are_required_in_training_only():
    written = {'name': 'a'}
    assert [problem.path for problem in problems(Trip, written)] == ['total']
    assert read(Trip, written, phase='test').total == 0


@pytest.mark.parametrize(
    ('kind', 'value', 'result'),
    [
        (float, 3, 3.0),
        (Annotated[int, From()], -1.0, -1),
        (int, 3.0, 3),
        (int, '5e3', 5000),
        (float, '1e-4', 1e-4),
        (str, 3, '3'),
        (int | str, 3, 3),
        (str | int, 3.0, 3),
        (Annotated[str, FolderName()], 15, '15'),
        (Mapping[str, int], {15: 2.0}, {'15': 2}),
        (Any, [{'lr': '1e-4'}], [{'lr': 1e-4}]),
        (Annotated[float, AtLeast(0)], 1, 1.0),
        (int | str, 'x', 'x'),
        (float | Sequence[float], [1, 2], (1.0, 2.0)),
        (list[str], ('a', 'b'), ['a', 'b']),
        (Any, {'a': object}, {'a': object}),
    ],
)
def test_single_values(kind, value, result):
    assert read(kind, value) == result
    assert type(read(kind, value)) is type(result)


@pytest.mark.parametrize(
    ('kind', 'value', 'said'),
    [
        (int, 3.5, 'expected a whole number, got 3.5'),
        (float, math.nan, 'expected a number, got nan'),
        (float, True, 'expected a number, got True'),
        (bool, 1, 'expected true or false, got 1'),
        (Literal[1, 2], True, 'expected one of 1, 2, got True'),
        (Annotated[int, AtLeast(2)], 1, 'expected a whole number of at least 2, got 1'),
        (Annotated[float, Above(0)], 0, 'expected a number above 0, got 0'),
        (Annotated[float, Within(0, 1)], 1.5, 'expected a number from 0 to 1, got 1.5'),
        (Annotated[float, Within(0, 1)], float('nan'), 'expected a number from 0 to 1, got nan'),
        (float | Sequence[float], 'x', "expected a number or a list of numbers, got 'x'"),
        (Sequence[str], 'abc', "expected a list of names, got 'abc'"),
        (Annotated[Sequence[int], Filled()], [], 'expected a list of whole numbers, got []'),
        (Annotated[str, Words('a folder')], None, 'expected a folder, got None'),
    ],
)
def test_single_values_that_are_refused(kind, value, said):
    with pytest.raises(OptionsError) as caught:
        read(kind, value, 'key')
    assert str(caught.value) == f'key: {said}.'
    assert said.startswith(f'expected {expected(kind)}, ')


def test_of_several_kinds_the_fault_inside_a_list_is_told():
    with pytest.raises(OptionsError, match=r'^key\[1\]: expected a number, got None'):
        read(float | Sequence[float], [1, None], 'key')
