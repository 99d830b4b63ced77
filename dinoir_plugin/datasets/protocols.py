"""Protocols of the literature by name: which tasks are trained and how often repeated, what is tested, and how."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dinoir_plugin.core.yaml_options import options_text
from dinoir_plugin.datasets.catalogue import CATALOGUE
from dinoir_plugin.datasets.choosing import renamed
from dinoir_plugin.datasets.densities import SUFFIX
from dinoir_plugin.datasets.recipe import Choice
from dinoir_plugin.datasets.store import read_record

# Data sets, degradation or None for pairs, times that every image comes in an epoch or None for equal shares.
_TaskFacts = tuple[tuple[str, ...], Mapping[str, Any] | None, int | None]

_PHOTOGRAPHS = ('bsd400', 'wed')


@dataclass(frozen=True)
class Measured:
    """Describe what one figure of a protocol's tables is taken of.

    Attributes:
        task: Name of the task.
        dataset: The data set, whose test split it is.
        degradation: What is done to its clean images; None for pairs.
        part: Which of the lists that are written beside its roots; None for all images.
        crop_multiple: Images are cropped to sides that it divides, before they are degraded and restored.
    """

    task: str
    dataset: str
    degradation: Mapping[str, Any] | None = None
    part: str | None = None
    crop_multiple: int = 1


@dataclass(frozen=True)
class Protocol:
    """Describe one protocol.

    Attributes:
        note: Where it comes from and what is uncertain about it.
        proportional: Whether tasks are drawn by their number of images, rather than in equal shares.
        tasks: What is trained, by name.
        tests: What is tested, by name.
        metrics: As ``val.metrics``.
        chosen: Data set to the choice of its images that the protocol trains on; of the others all.
    """

    note: str
    proportional: bool
    tasks: Mapping[str, _TaskFacts]
    tests: Mapping[str, Measured]
    metrics: Mapping[str, Mapping[str, Any]]
    chosen: Mapping[str, Choice] = field(default_factory=dict)

    def root(self, name: str, role: str) -> PurePosixPath:
        """Name the root of one role of a data set's training split."""
        dataset = renamed(CATALOGUE[name], self.chosen[name]) if name in self.chosen else CATALOGUE[name]
        return dataset.root(dataset.splits[0], role)


def root_of_test(name: str, role: str) -> PurePosixPath:
    """Name the root of one role of a data set's test split."""
    split = next(split for split in CATALOGUE[name].splits if split.name == 'test')
    return CATALOGUE[name].root(split, role)


def _noisy(sigma: int, **more: Any) -> dict[str, Any]:
    return {'type': 'gaussian_noise', 'sigma': sigma, **more}


def _as_adair(*sigmas: int, generator: str, crop_multiple: int) -> dict[str, Measured]:
    """Give the tests of noise, haze and rain as AdaIR's code takes them, or what Perceive-IR made of it."""
    pairs = {'sots_outdoor': ('dehaze', 'sots_outdoor'), 'rain100l': ('derain', 'rain100l')}
    tests = {name: Measured(*about, crop_multiple=crop_multiple) for name, about in pairs.items()}
    for sigma in sigmas:
        noise = {'type': 'evaluation_noise', 'sigma': sigma, 'generator': generator}
        tests[f'cbsd68_sigma{sigma}'] = Measured('denoise', 'bsd68', noise, crop_multiple=crop_multiple)
    return tests


def _truncated(*sigmas: int) -> dict[str, Measured]:
    """Give CBSD68 with noise that is converted to 8 bits as the all-in-one papers' code does."""
    return {
        f'cbsd68_sigma{sigma}': Measured('denoise', 'bsd68', _noisy(sigma, quantise='truncate')) for sigma in sigmas
    }


# The all-in-one comparisons: three levels of noise, converted to 8 bits as their code does.
_THREE_NOISES: dict[str, _TaskFacts] = {
    f'denoise{sigma}': (_PHOTOGRAPHS, _noisy(sigma, quantise='truncate'), 3)
    for sigma in (15, 25, 50)
}
# Perceive-IR's release: a sigma for each patch, and floats
_PERCEIVE_IR_TASKS: dict[str, _TaskFacts] = {
    'denoise': (_PHOTOGRAPHS, {'type': 'gaussian_noise', 'sigma': {'choices': [15, 25, 50]}, 'quantise': 'none'}, 12),
    'dehaze': (('ots',), None, 1),
    'derain': (('rain100l',), None, 360),
}
_BLUR = {'type': 'gaussian_blur', 'kernel_size': 15, 'sigma': [2.0, 3.1]}
_JPEG = {'type': 'jpeg', 'quality': 10}
_HOLES = {'type': 'holes'}
_HAZE_AND_RAIN = {'sots_outdoor': Measured('dehaze', 'sots_outdoor'), 'rain100l': Measured('derain', 'rain100l')}
# floats, RGB, sides cropped to multiples of 16, scikit-image's SSIM
_ALL_IN_ONE = {'psnr': {'type': 'calculate_psnr_all_in_one'}, 'ssim': {'type': 'calculate_ssim_all_in_one'}}
# the same of whole images: those of the tests are cropped beforehand, or not at all
_ALL_IN_ONE_WHOLE = {name: {**metric, 'crop_multiple': 1} for name, metric in _ALL_IN_ONE.items()}
# 8 bits, in RGB and in Y, without four pixels on each side, SSIM of Gaussian windows; LPIPS of floats and whole images
_WITHOUT_BORDER = {
    f'{name}{suffix}': {'type': f'calculate_{name}', 'crop_border': 4, 'test_y_channel': bool(suffix)}
    for suffix in ('', '_y')
    for name in ('psnr', 'ssim')
} | {'lpips': {'type': 'calculate_lpips_floats'}, 'fid': {'type': 'calculate_fid'}}
_OF_BASICSR = {
    name: {'type': f'calculate_{name}', 'crop_border': 0, 'test_y_channel': False} for name in ('psnr', 'ssim')
}

PROTOCOLS = {
    'paper_all4': Protocol(
        "DINO-IR's four tasks, as options/train_dinoir_all4.yml: noise and blur from DID-MDN's clean images, 4,000\n"
        'hazy images of OTS. Which 4,000, the equal shares, the blurred test set and RGB are our choice.',
        False,
        {
            'denoise': (('did_mdn',), {'type': 'gaussian_noise', 'sigma': [15, 50]}, None),
            'deblur': (('did_mdn',), _BLUR, None),
            'derain': (('did_mdn',), None, None),
            'dehaze': (('ots',), None, None),
        },
        {
            **{f'cbsd68_sigma{sigma}': Measured('denoise', 'bsd68', _noisy(sigma)) for sigma in (15, 25, 50)},
            'did_mdn_blur': Measured('deblur', 'did_mdn', _BLUR),
            'did_mdn_high': Measured('derain', 'did_mdn', part='high'),
            'did_mdn_medium': Measured('derain', 'did_mdn', part='medium'),
            'sots_outdoor': Measured('dehaze', 'sots_outdoor'),
        },
        _OF_BASICSR,
        {'ots': Choice(4000)},
    ),
    'aio3': Protocol(
        'Noise, rain and haze, as all-in-one methods from AirNet and PromptIR on are compared. Factors and noise are\n'
        "those of the code of PromptIR and what builds on it; the metrics are those papers'. Which noise an image of\n"
        'CBSD68 gets is ours: in their code it follows from the order of the files.',
        True,
        {
            **_THREE_NOISES,
            'derain': (('rain100l',), None, 120),
            'dehaze': (('ots',), None, 1),
        },
        {**_HAZE_AND_RAIN, **_truncated(15, 25, 50)},
        _ALL_IN_ONE,
    ),
    'aio5': Protocol(
        'Noise, rain, haze, motion blur and low light. Factors and noise are those of the code of AdaIR and what\n'
        'builds on it, which trains on three levels of noise; its tables test sigma 25. The metrics are those of its\n'
        "code; Perceive-IR's release does not crop with five tasks (crop_multiple: 1).",
        True,
        {
            **_THREE_NOISES,
            'derain': (('rain100l',), None, 120),
            'dehaze': (('ots',), None, 1),
            'deblur': (('gopro',), None, 5),
            'lowlight': (('lol',), None, 20),
        },
        {
            **_HAZE_AND_RAIN,
            **_truncated(25),
            'gopro': Measured('deblur', 'gopro'),
            'lol': Measured('lowlight', 'lol'),
        },
        _ALL_IN_ONE,
    ),
    'perceive_ir3': Protocol(
        "Noise, rain and haze as Perceive-IR's release has them, tested as by AdaIR's code: images cropped to sides\n"
        'that 16 divides before they are restored, and the very noise of that code (evaluation_noise).',
        True,
        _PERCEIVE_IR_TASKS,
        _as_adair(15, 25, 50, generator='numpy', crop_multiple=16),
        _ALL_IN_ONE_WHOLE,
    ),
    'perceive_ir5': Protocol(
        "Noise, rain, haze, motion blur and low light as Perceive-IR's release has them, tested as by its code: whole\n"
        'images, the very noise of that code (evaluation_noise), of which its tables have sigma 25.',
        True,
        {**_PERCEIVE_IR_TASKS, 'deblur': (('gopro',), None, 30), 'lowlight': (('lol',), None, 140)},
        {
            **_as_adair(25, generator='torch', crop_multiple=1),
            'gopro': Measured('deblur', 'gopro'),
            'lol': Measured('lowlight', 'lol'),
        },
        _ALL_IN_ONE_WHOLE,
    ),
    'daclip': Protocol(
        "DA-CLIP's ten degradations by its words. Noise, JPEG and holes are made on the way, where the authors made\n"
        'them once, and holes are drawn, where they have 100 masks (masks: FOLDER takes these). Metrics are those of\n'
        "their code, but LPIPS is of the output clipped to [0, 1], and FID, which is not in it, is torch-fidelity's.",
        False,
        {
            'motion-blurry': (('gopro',), None, None),
            'hazy': (('reside6k',), None, None),
            'jpeg-compressed': (('div2k', 'flickr2k'), _JPEG, None),
            'low-light': (('lol',), None, None),
            'noisy': (('div2k', 'flickr2k'), _noisy(50, quantise='truncate'), None),
            'raindrop': (('raindrop',), None, None),
            'rainy': (('rain100h',), None, None),
            'shadowed': (('srd',), None, None),
            'snowy': (('snow100k_l_smile',), None, None),
            'uncompleted': (('celeba_hq',), _HOLES, None),
        },
        {
            'gopro': Measured('motion-blurry', 'gopro'),
            'reside6k': Measured('hazy', 'reside6k'),
            'live1_jpeg10': Measured('jpeg-compressed', 'live1', _JPEG),
            'lol': Measured('low-light', 'lol'),
            'cbsd68_sigma50': Measured('noisy', 'bsd68', _noisy(50, quantise='truncate')),
            'raindrop': Measured('raindrop', 'raindrop'),
            'rain100h': Measured('rainy', 'rain100h'),
            'srd': Measured('shadowed', 'srd'),
            'snow100k_l': Measured('snowy', 'snow100k_l_smile'),
            'celeba_hq': Measured('uncompleted', 'celeba_hq', _HOLES),
        },
        _WITHOUT_BORDER,
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
    train['tasks'] = {name: _trained(protocol, facts, out) for name, facts in protocol.tasks.items()}
    blocks = {'train': train}
    for name, test in protocol.tests.items():
        blocks[f'val_{name}'] = {'name': name, 'type': train['type'], 'tasks': {test.task: _tested(test, out)}}
    note = ''.join(f'# {line}\n' for line in protocol.note.splitlines())
    body = options_text({'datasets': blocks, 'val': {'metrics': deepcopy(dict(protocol.metrics))}})
    lacking = ''.join(f'# missing: {line}\n' for line in _missing(protocol, out))
    return note + body + (lacking or '# all of these roots are there\n')


def _trained(protocol: Protocol, facts: _TaskFacts, out: Path) -> dict[str, Any]:
    names, degradation, repeat = facts
    roots = {role: out / protocol.root(names[0], role) for role in CATALOGUE[names[0]].roles}
    block = _block(names[0], roots, degradation)
    if repeat is not None:
        block['repeat'] = repeat
    return block


def _tested(test: Measured, out: Path) -> dict[str, Any]:
    roots = {role: out / root_of_test(test.dataset, role) for role in CATALOGUE[test.dataset].roles}
    block = _block(test.dataset, roots, test.degradation)
    if test.part is not None:
        clean = Path(block['dataroot_gt'])
        block['meta_info_file'] = (clean.parent / f'{test.part}{SUFFIX}').as_posix()
    if test.crop_multiple != 1:
        block['crop_multiple'] = test.crop_multiple
    return block


def _block(name: str, roots: Mapping[str, Path], degradation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write a task's block: clean images with a degradation, or pairs."""
    dataset = CATALOGUE[name]
    block: dict[str, Any] = {'dataroot_gt': roots[dataset.roles[-1]].as_posix()}
    if degradation is not None:
        block['degradation'] = deepcopy(dict(degradation))
    else:
        block['dataroot_lq'] = roots[dataset.roles[0]].as_posix()
    if dataset.many_to_one:
        block['pairing'] = 'reside'
    return block


def _missing(protocol: Protocol, out: Path) -> list[str]:
    trained = dict.fromkeys(name for names, _, _ in protocol.tasks.values() for name in names)
    wanted = [(name, out / protocol.root(name, role)) for name in trained for role in CATALOGUE[name].roles]
    tested = dict.fromkeys(test.dataset for test in protocol.tests.values())
    wanted += [(name, out / root_of_test(name, role)) for name in tested for role in CATALOGUE[name].roles]
    lines = []
    for name, root in wanted:
        entry = (read_record(root) or {'sets': {}})['sets'].get(name)
        if entry is None or not entry['finished']:
            taken = f' --choose {protocol.chosen[name].images}' if name in protocol.chosen else ''
            lines.append(f'{name} in {root.as_posix()} (dinoir prepare {name} SOURCE{taken})')
    return lines
