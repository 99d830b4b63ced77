"""Describe a data set that can be prepared, as data: what is in a release, where, and how its images pair up.

Patterns are paths inside a release without extension, matched from any folder on and whatever the case. ``{}`` is any
name and ``{a|b}`` one of these; together they identify an image, and the halves of a pair agree in them. ``<a|b|>``
is one of these or nothing, ``*`` any part of a name; both say nothing about which image it is.

Images of the sets that ``unchecked`` says so of could not be looked at when this was written: their counts and
layouts are those of the papers, the releases' pages and the code of others that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

FROM_LITERATURE = 'counts and layout are from the literature'


@dataclass(frozen=True)
class Layout:
    """Say where the images of a split are in one form of a release.

    Attributes:
        clean: Patterns of the clean images, all of them taken together.
        degraded: Patterns of the degraded images, for pairs in two files.
        joined: Patterns of images that hold a pair side by side, degraded left and clean right.
    """

    clean: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Describe one part of a data set.

    Attributes:
        name: ``train`` or ``test``.
        folder: Where its roots go below the folder of all data sets.
        layouts: Forms of the release, the one to look for first at the front.
        counts: Images of each role in the complete release, in the order of `DataSet.roles`; empty for a split that
            the release itself does not make, which may be missing.
        levels: Names of parts from the densest degradation to the lightest, for which lists are written beside the
            roots, see `densities.write_lists`.
        whole: Whether its images stay whole where those of other splits are cut into sub-images.
    """

    name: str
    folder: str
    layouts: tuple[Layout, ...]
    counts: tuple[int, ...] = ()
    levels: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class DataSet:
    """Describe one data set of the literature.

    Attributes:
        name: The sub-command.
        title: What it is.
        origin: Where it comes from.
        terms: Licence or terms of use.
        roles: Names of the two halves of a pair, degraded first, or ``('clean',)``.
        splits: Its parts.
        many_to_one: RESIDE's naming: what stands before a degraded image's first underscore names its clean one.
        clean_border: Pixels by which the clean image may be larger on every side; they are cut off.
        key_prefix: In front of every key, for sets that share a root.
        unchecked: Which of these facts could not be held against the release.
    """

    name: str
    title: str
    origin: str
    terms: str
    roles: tuple[str, ...]
    splits: tuple[Split, ...]
    many_to_one: bool = False
    clean_border: int = 0
    key_prefix: str = ''
    unchecked: str = FROM_LITERATURE

    def root(self, split: Split, role: str) -> PurePosixPath:
        """Name the LMDB of one role of a split, below the folder of all data sets."""
        if len(self.roles) == 1:
            return PurePosixPath(f'{split.folder}.lmdb')
        return PurePosixPath(split.folder, f'{role}.lmdb')
