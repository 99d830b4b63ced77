"""Which degraded image belongs to which clean one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.meta_info import Listed
from dinoir_plugin.data.sources import Source
from dinoir_plugin.imaging.formats import split_name


class Pair(NamedTuple):
    """Hold one item of a task: numbers of the images in their sources.

    Attributes:
        gt: The clean image.
        lq: The degraded image, None where it is made from the clean one.
        depth: The depth map, None without depth maps.
        medium: The half-restored image, None without such.
    """

    gt: int
    lq: int | None = None
    depth: int | None = None
    medium: int | None = None


def clean_only(gt: Source, listed: Sequence[Listed] | None, task: str) -> list[Pair]:
    """Take every clean image, or those of a meta info file."""
    return [Pair(number) for number in _chosen(gt, listed, task, 'dataroot_gt')]


def pair_by_name(gt: Source, lq: Source, template: str, listed: Sequence[Listed] | None, task: str) -> list[Pair]:
    """Pair one degraded image with each clean one; its key is the clean key put into ``template``.

    A meta info file of pairs names the degraded images itself. Folders in a clean key may stand as ``a_b``.

    Degraded images without a clean one are an error too, unless a meta info file picks the images.
    """
    if '{}' not in template:
        raise OptionsError(f'{task}.filename_tmpl', f"expected a text with {{}} for the clean name, got {template!r}")
    pairs, missing = [], []
    for number, own in _chosen(gt, listed, task, 'dataroot_gt').items():
        expected = template.format(gt.keys[number]) if own is None else own
        partner = _find_flat(lq, expected) if own is None else _find_listed(lq, own)
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


def pair_many_to_one(gt: Source, lq: Source, listed: Sequence[Listed] | None, task: str) -> list[Pair]:
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


def add_medium(pairs: Sequence[Pair], lq: Source, medium: Source, task: str) -> list[Pair]:
    """Attach to every pair the half-restored image of the degraded one's name, whose folders may stand as ``a_b``."""
    keys = [lq.keys[pair.lq] for pair in pairs if pair.lq is not None]
    found = [_find_flat(medium, key) for key in keys]
    missing = [key for key, number in zip(keys, found) if number is None]
    if missing:
        raise _unmatched(f'{task}.dataroot_medium', missing, f'images of {lq.root} have no partner in {medium.root}')
    return [pair._replace(medium=number) for pair, number in zip(pairs, found)]


def _find_flat(source: Source, key: str) -> int | None:
    exact = source.find(key)
    return source.find(flat(key)) if exact is None else exact


def flat(key: str) -> str:
    """Give a key, in which an LMDB may have folders, as the name of a file in one folder."""
    return key.replace('/', '_')


def _chosen(source: Source, listed: Sequence[Listed] | None, task: str, root_key: str) -> dict[int, str | None]:
    """Give the numbers of the images that are taken, and for each the partner that a list of pairs names."""
    if listed is None:
        return dict.fromkeys(range(len(source)))
    wanted: dict[int, str | None] = {}
    missing = []
    for entry in listed:
        found = ((_find_listed(source, name), partner) for name, partner in entry.readings)
        number, partner = next(((number, partner) for number, partner in found if number is not None), (None, None))
        if number is None:
            missing.append(entry.line)
        else:
            wanted[number] = partner
    if missing:
        raise _unmatched(f'{task}.meta_info_file', missing, f'listed names are not in {root_key} {source.root}')
    # In the source's order, not the list's: the order must not depend on how a list was written.
    return {number: wanted[number] for number in sorted(wanted)}


def _find_listed(source: Source, name: str) -> int | None:
    """Find the image that a list calls ``name``, with or without the folders that the source lies in."""
    for text in dict.fromkeys((name, name.replace('\\', '/'))):
        path = PurePosixPath(text)
        root = PurePosixPath(Path(source.root).absolute().as_posix()).parts
        folders = path.parent.parts
        found = source.find(split_name(text)[0])
        if found is None and folders and root[-len(folders) :] == folders:
            found = source.find(split_name(path.name)[0])
        if found is not None:
            return found
    return None


def _unmatched(option: str, names: Sequence[str], what: str) -> OptionsError:
    shown = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    return OptionsError(option, f'{len(names)} {what}: {shown}')
