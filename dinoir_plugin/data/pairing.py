"""Which degraded image belongs to which clean one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.sources import Source


class Pair(NamedTuple):
    """Hold one item of a task: numbers of the images in their sources.

    Attributes:
        gt: The clean image.
        lq: The degraded image, None where it is made from the clean one.
        depth: The depth map, None without depth maps.
    """

    gt: int
    lq: int | None = None
    depth: int | None = None


def clean_only(gt: Source, listed: Sequence[str] | None, task: str) -> list[Pair]:
    """Take every clean image, or those of a meta info file."""
    return [Pair(number) for number in _chosen(gt, listed, task, 'dataroot_gt')]


def pair_by_name(gt: Source, lq: Source, template: str, listed: Sequence[str] | None, task: str) -> list[Pair]:
    """Pair one degraded image with each clean one; its key is the clean key put into ``template``.

    Degraded images without a clean one are an error too, unless a meta info file picks the images.
    """
    if '{}' not in template:
        raise OptionsError(f'{task}.filename_tmpl', f"expected a text with {{}} for the clean name, got {template!r}")
    pairs, missing = [], []
    for number in _chosen(gt, listed, task, 'dataroot_gt'):
        expected = template.format(gt.keys[number])
        partner = lq.find(expected)
        if partner is None:
            missing.append(f'{gt.keys[number]} (expected {expected})')
        else:
            pairs.append(Pair(number, partner))
    if missing:
        raise _unmatched(f'{task}.dataroot_lq', missing, f'clean images of {gt.root} have no partner in {lq.root}')
    if listed is None and len(lq) > len(pairs):
        used = {pair.lq for pair in pairs}
        extra = [key for number, key in enumerate(lq.keys) if number not in used]
        raise _unmatched(f'{task}.dataroot_gt', extra, f'degraded images of {lq.root} have no partner in {gt.root}')
    return pairs


def pair_many_to_one(gt: Source, lq: Source, listed: Sequence[str] | None, task: str) -> list[Pair]:
    """Pair by RESIDE's naming: ``1400_4.png`` and ``0001_0.8_0.2.jpg`` are hazy forms of ``1400`` and ``0001``.

    The clean key is what stands before the first underscore. Items, and the names of a meta info file, are the hazy
    images; clean images that no hazy one asks for are left out.
    """
    pairs, missing = [], []
    for number in _chosen(lq, listed, task, 'dataroot_lq'):
        expected = lq.keys[number].partition('_')[0]
        clean = gt.find(expected)
        if clean is None:
            missing.append(f'{lq.keys[number]} (expected {expected})')
        else:
            pairs.append(Pair(clean, number))
    if missing:
        raise _unmatched(f'{task}.dataroot_gt', missing, f'hazy images of {lq.root} have no partner in {gt.root}')
    return pairs


def add_depth(pairs: Sequence[Pair], gt: Source, depth: Source, task: str) -> list[Pair]:
    """Attach to every pair the depth map of the clean image's name."""
    missing = [gt.keys[pair.gt] for pair in pairs if depth.find(gt.keys[pair.gt]) is None]
    if missing:
        raise _unmatched(f'{task}.dataroot_depth', missing, f'images of {gt.root} have no depth map in {depth.root}')
    return [pair._replace(depth=depth.find(gt.keys[pair.gt])) for pair in pairs]


def _chosen(source: Source, listed: Sequence[str] | None, task: str, root_key: str) -> list[int]:
    if listed is None:
        return list(range(len(source)))
    missing = [key for key in listed if source.find(key) is None]
    if missing:
        raise _unmatched(f'{task}.meta_info_file', missing, f'listed names are not in {root_key} {source.root}')
    # In the source's order, not the list's: the order must not depend on how a list was written.
    wanted = set(listed)
    return [number for number, key in enumerate(source.keys) if key in wanted]


def _unmatched(option: str, names: Sequence[str], what: str) -> OptionsError:
    shown = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    return OptionsError(option, f'{len(names)} {what}: {shown}')
