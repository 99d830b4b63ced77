"""Training protocols of the literature by name: which tasks, from which roots, how often repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.choosing import renamed
from dinoir_plugin.datasets.recipe import Choice
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
        chosen: Data set to the choice of its images that the protocol trains on; of the others all.
    """

    note: str
    proportional: bool
    tasks: Mapping[str, _TaskFacts]
    chosen: Mapping[str, Choice] = field(default_factory=dict)

    def root(self, name: str, role: str) -> PurePosixPath:
        """Name the root of one role of a data set's training split."""
        dataset = renamed(CATALOGUE[name], self.chosen[name]) if name in self.chosen else CATALOGUE[name]
        return dataset.root(dataset.splits[0], role)


PROTOCOLS = {
    'paper_all4': Protocol(
        "DINO-IR's four tasks, as options/train_dinoir_all4.yml: noise and blur from DID-MDN's clean images, 4,000\n"
        'hazy images of OTS. Which 4,000, and the equal shares, are our choice.',
        False,
        {
            'denoise': (('did_mdn',), {'type': 'gaussian_noise', 'sigma': [15, 50]}, None),
            'deblur': (('did_mdn',), {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]}, None),
            'derain': (('did_mdn',), None, None),
            'dehaze': (('ots',), None, None),
        },
        {'ots': Choice(4000)},
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
    train['tasks'] = {name: _block(protocol, facts, out) for name, facts in protocol.tasks.items()}
    note = ''.join(f'# {line}\n' for line in protocol.note.splitlines())
    body = yaml.safe_dump({'datasets': {'train': train}}, sort_keys=False, default_flow_style=None, width=200)
    lacking = ''.join(f'# missing: {line}\n' for line in _missing(protocol, out))
    return note + body + (lacking or '# all of these roots are there\n')


def _block(protocol: Protocol, facts: _TaskFacts, out: Path) -> dict[str, Any]:
    names, degradation, repeat = facts
    dataset = CATALOGUE[names[0]]
    block: dict[str, Any] = {'dataroot_gt': (out / protocol.root(names[0], dataset.roles[-1])).as_posix()}
    if degradation is not None:
        block['degradation'] = dict(degradation)
    else:
        block['dataroot_lq'] = (out / protocol.root(names[0], dataset.roles[0])).as_posix()
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
            root = out / protocol.root(name, role)
            entry = (read_record(root) or {'sets': {}})['sets'].get(name)
            if entry is None or not entry['finished']:
                taken = f' --choose {protocol.chosen[name].images}' if name in protocol.chosen else ''
                lines.append(f'{name} in {root.as_posix()} (dinoir prepare {name} SOURCE{taken})')
    return lines
