"""From the names of a release's files to scenes: which images belong together, and under which keys they are kept."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dinoir_plugin.datasets.description import DataSet, Layout, Split
from dinoir_plugin.datasets.errors import PreparationError, shortened
from dinoir_plugin.imaging.formats import ENDINGS, has_ending
from dinoir_plugin.imaging.paths import LOOP, walk

logger = logging.getLogger(__name__)

# LMDB takes 511 bytes; the rest is for the number of a sub-image.
LONGEST_KEY = 480

_TOKEN = re.compile(r'(\{[^}]*\}|<[^>]*>|\*)')


class File(NamedTuple):
    """Name an image of a release: path, and its name from the source's own folder on, for patterns and errors."""

    path: str
    name: str


class FilePart(NamedTuple):
    """Place one image of a scene.

    Attributes:
        role: Its place in `DataSet.roles`.
        key: Its key as a whole image.
        file: Where it is.
        half: 0 or 1 for the left or right half of a file that holds a pair side by side, None for the whole.
    """

    role: int
    key: str
    file: File
    half: int | None = None


class Scene(NamedTuple):
    """Hold the images of one view, equally large and cut at the same places; the clean one stands last."""

    parts: tuple[FilePart, ...]


class SplitPlan(NamedTuple):
    """Hold what there is to do for a split.

    Attributes:
        split: The split.
        scenes: Sorted by the clean image's key.
        digest: Of all keys, to tell whether a root was made from the same images.
    """

    split: Split
    scenes: list[Scene]
    digest: str

    def count(self, role: int) -> int:
        """Count the images of a role."""
        return sum(part.role == role for scene in self.scenes for part in scene.parts)


def list_images(sources: Sequence[Path]) -> list[File]:
    """List all image files below the sources, in order of their names; hidden ones and ``__MACOSX`` are passed over.

    Links that lead nowhere are listed: they are images that cannot be read. Where a program of Windows wrote an
    archive, a file's name may hold its folders, with backslashes between them.

    Raises:
        PreparationError: A folder cannot be read.
    """
    files = []
    for source in sources:
        base = source.resolve()
        for path, problem in walk(base, lambda folder: folder.name != '__MACOSX', _refuse):
            if problem == LOOP:
                logger.warning('%s: %s', path, problem)
            elif has_ending(path.name.rpartition('\\')[2]):
                files.append(File(str(path), path.relative_to(base.parent).as_posix().replace('\\', '/')))
    return sorted(files, key=lambda file: (file.name, file.path))


def _refuse(error: OSError) -> None:
    raise PreparationError(f'the folder {error.filename} cannot be read ({error.strerror})') from error


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn a catalogue's pattern into a regular expression for whole names with extension."""
    body = ''.join(_regex(token) for token in _TOKEN.split(pattern))
    endings = '|'.join(map(re.escape, ENDINGS))
    return re.compile(rf'(?:.*/)?{body}(?:{endings})', re.IGNORECASE)


def _regex(token: str) -> str:
    if token == '*':
        return '[^/]*'
    if token == '{}':
        return '([^/]+)'
    if token.startswith(('{', '<')):
        words = '|'.join(re.escape(word).replace(r'\*', '[^/]*') for word in token[1:-1].split('|'))
        return f'({words})' if token.startswith('{') else f'(?:{words})'
    return re.escape(token)


def plan_splits(dataset: DataSet, files: Sequence[File], partial: bool) -> list[SplitPlan]:
    """Find the images of every split, pair them up and count them.

    Args:
        dataset: Where to look.
        files: What there is.
        partial: Whether wrong counts and images without partner are only reported.

    Returns:
        The splits of which there is something.

    Raises:
        PreparationError: Nothing was found; or without ``partial``: a count is wrong, or an image has no partner.
    """
    plans, wrong = [], []
    for split in dataset.splits:
        scenes = _find_scenes(dataset, split, files, partial)
        plan = SplitPlan(split, scenes, digest_of(scenes))
        found = [plan.count(role) for role in range(len(dataset.roles))]
        for role, expected, number in zip(dataset.roles, split.counts, found):
            if number != expected:
                wrong.append(f'{split.name} {role}: expected {expected} images, found {number}')
        if scenes:
            plans.append(plan)
    if not plans:
        raise PreparationError(f'{dataset.name}: none of its images among the {len(files)} image files of the '
                               f'source. {_looked_for(dataset)}')
    if wrong and not partial:
        raise PreparationError(f'{dataset.name}: {"; ".join(wrong)}. Fetch what is missing, name all parts of the '
                               'release at once, or take what there is with --partial')
    for text in wrong:
        logger.warning('%s %s', dataset.name, text)
    return plans


def digest_of(scenes: Sequence[Scene]) -> str:
    """Compute the digest of all keys."""
    keys = sorted(f'{part.role} {part.key}' for scene in scenes for part in scene.parts)
    return hashlib.sha256('\n'.join(keys).encode()).hexdigest()


def _looked_for(dataset: DataSet) -> str:
    patterns = [pattern for split in dataset.splits for layout in split.layouts
                for pattern in (*layout.joined, *layout.degraded, *layout.clean)]
    return 'Looked for ' + ', '.join(patterns)


def _find_scenes(dataset: DataSet, split: Split, files: Sequence[File], partial: bool) -> list[Scene]:
    for layout in split.layouts:
        if layout.joined:
            joined = _match(dataset, files, layout.joined)
            scenes = [Scene((FilePart(0, key, file, 0), FilePart(1, key, file, 1))) for key, file in joined.values()]
        else:
            scenes = _pair_up(dataset, layout, files, partial)
        if scenes:
            return sorted(scenes, key=lambda scene: scene.parts[-1].key)
    return []


def _pair_up(dataset: DataSet, layout: Layout, files: Sequence[File], partial: bool) -> list[Scene]:
    clean = _match(dataset, files, layout.clean)
    if not layout.degraded:
        return [Scene((FilePart(0, key, file),)) for key, file in clean.values()]
    degraded = _match(dataset, files, layout.degraded)
    if not clean or not degraded:
        return []
    groups: dict[str, list[FilePart]] = defaultdict(list)
    unmatched = []
    for identity, (key, file) in degraded.items():
        wanted = identity.partition('_')[0] if dataset.many_to_one else identity
        if wanted in clean:
            # A pair shares the clean image's key; of many to one, each keeps its own.
            groups[wanted].append(FilePart(0, key if dataset.many_to_one else clean[wanted][0], file))
        else:
            unmatched.append(file.name)
    idle = [file.name for identity, (_, file) in clean.items() if identity not in groups]
    if dataset.many_to_one and idle:
        logger.info('%s: %d clean images that no degraded one asks for are left out', dataset.name, len(idle))
        idle = []
    _report_unmatched(dataset, unmatched + idle, partial)
    return [Scene((*parts, FilePart(1, *clean[identity]))) for identity, parts in groups.items()]


def _report_unmatched(dataset: DataSet, names: list[str], partial: bool) -> None:
    if not names:
        return
    text = f'{dataset.name}: {len(names)} images have no partner: {shortened(names)}'
    if not partial:
        raise PreparationError(f'{text}. Fetch what is missing, or leave these out with --partial')
    logger.warning('%s; left out', text)


def _match(dataset: DataSet, files: Sequence[File], patterns: Sequence[str]) -> dict[str, tuple[str, File]]:
    """Find key and file of every image that a pattern fits, by what identifies it."""
    found: dict[str, tuple[str, File]] = {}
    for pattern in map(compile_pattern, patterns):
        for file in files:
            match = pattern.fullmatch(file.name)
            if match is None:
                continue
            groups = match.groups()
            identity = '/'.join(groups)
            if identity in found:
                raise PreparationError(f'{dataset.name}: {found[identity][1].name} and {file.name} are both image '
                                       f'{identity}. Keep one of them, or point to the folder that holds one only')
            stem = file.name.rpartition('/')[2].rpartition('.')[0]
            found[identity] = checked_key(dataset.key_prefix + '/'.join([*groups[:-1], stem]), file), file
    return found


def checked_key(key: str, file: File) -> str:
    """Give a key back; PreparationError where an LMDB of BasicSR cannot have it."""
    if not key.isascii() or len(key) > LONGEST_KEY:
        raise PreparationError(f'{file.name}: expected a name of at most {LONGEST_KEY} ASCII characters, because '
                               "BasicSR's reader takes no other. Rename it")
    return key
