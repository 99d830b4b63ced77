"""Training protocols of the literature by name: which tasks, from which roots, how often repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.store import read_record

# Data sets, degradation or None for pairs, times that every image comes in an epoch or None for equal shares.
_TaskFacts = tuple[tuple[str, ...], Mapping[str, Any] | None, int | None]

_PHOTOGRAPHS = ('bsd400', 'wed')


# The all-in-one comparisons: three levels of noise, converted to 8 bits as their code does.
_THREE_NOISES: dict[str, _TaskFacts] = {
    f'denoise{sigma}': (_PHOTOGRAPHS, {'type': 'gaussian_noise', 'sigma': sigma, 'quantise': 'truncate'}, 3)
    for sigma in (15, 25, 50)
}


@dataclass(frozen=True)
class Protocol:
    """Describe one protocol.

    Attributes:
        note: Where it comes from and what is uncertain about it.
        proportional: Whether tasks are drawn by their number of images, rather than in equal shares.
        tasks: By name.
    """

    note: str
    proportional: bool
    tasks: Mapping[str, _TaskFacts]


PROTOCOLS = {
    'paper_all4': Protocol(
        'The four tasks of DINO-IR in equal shares, as options/train_dinoir_all4.yml',
        False,
        {
            'denoise': (_PHOTOGRAPHS, {'type': 'gaussian_noise', 'sigma': [15, 50]}, None),
            'deblur': (_PHOTOGRAPHS, {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]}, None),
            'derain': (('did_mdn',), None, None),
            'dehaze': (('ots',), None, None),
        },
    ),
    'aio3': Protocol(
        'Noise, rain and haze, as all-in-one methods from AirNet and PromptIR on are compared. Factors and noise are\n'
        'those of the code of PromptIR and what builds on it.',
        True,
        {
            **_THREE_NOISES,
            'derain': (('rain100l',), None, 120),
            'dehaze': (('ots',), None, 1),
        },
    ),
    'aio5': Protocol(
        'Noise, rain, haze, motion blur and low light. Factors and noise are those of the code of AdaIR and what\n'
        'builds on it, which trains on three levels of noise; its tables test sigma 25.',
        True,
        {
            **_THREE_NOISES,
            'derain': (('rain100l',), None, 120),
            'dehaze': (('ots',), None, 1),
            'deblur': (('gopro',), None, 5),
            'lowlight': (('lol',), None, 20),
        },
    ),
}  # fmt: skip


def fragment(protocol: Protocol, out: Path) -> str:
    """Write the protocol's part of an options file, ending with comments that name the roots still to be made.

    Args:
        protocol: One of `PROTOCOLS`.
        out: The folder of all data sets.
    """
    train: dict[str, Any] = {'type': 'MixedDegradationDataset'}
    if protocol.proportional:
        train['sampling'] = 'proportional'
    train['tasks'] = {name: _block(facts, out) for name, facts in protocol.tasks.items()}
    note = ''.join(f'# {line}\n' for line in protocol.note.splitlines())
    body = yaml.safe_dump({'datasets': {'train': train}}, sort_keys=False, default_flow_style=None, width=200)
    lacking = ''.join(f'# missing: {line}\n' for line in _missing(protocol, out))
    return note + body + (lacking or '# all of these roots are there\n')


def _block(facts: _TaskFacts, out: Path) -> dict[str, Any]:
    names, degradation, repeat = facts
    dataset = CATALOGUE[names[0]]
    split = dataset.splits[0]
    block: dict[str, Any] = {'dataroot_gt': (out / dataset.root(split, dataset.roles[-1])).as_posix()}
    if degradation is not None:
        block['degradation'] = dict(degradation)
    else:
        block['dataroot_lq'] = (out / dataset.root(split, dataset.roles[0])).as_posix()
    if dataset.many_to_one:
        block['pairing'] = 'reside'
    if repeat is not None:
        block['repeat'] = repeat
    return block


def _missing(protocol: Protocol, out: Path) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for names, _, _ in protocol.tasks.values() for name in names):
        dataset = CATALOGUE[name]
        for role in dataset.roles:
            root = out / dataset.root(dataset.splits[0], role)
            entry = (read_record(root) or {'sets': {}})['sets'].get(name)
            if entry is None or not entry['finished']:
                lines.append(f'{name} in {root.as_posix()} (dinoir prepare {name} SOURCE)')
    return lines
