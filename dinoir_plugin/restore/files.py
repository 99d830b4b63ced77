"""Which images a command means, and where the restored ones go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.decoding import ImageFileError
from dinoir_plugin.imaging.encoding import ENDINGS as WRITTEN
from dinoir_plugin.imaging.encoding import KEPT_ENDINGS, ending_for
from dinoir_plugin.imaging.formats import ENDINGS, has_ending, split_name
from dinoir_plugin.imaging.paths import DEAD, Found, walk, written_path
from dinoir_plugin.imaging.reading import open_image
from dinoir_plugin.restore.patterns import find_matching, is_pattern

Problem = tuple[Path, str]


@dataclass(frozen=True)
class Item:
    """Say where one image is, and where it goes.

    Attributes:
        source: Its file.
        target: Where the restored image goes.
        number: Which of the file's images, from 0; None: the only one.
    """

    source: Path
    target: Path
    number: int | None = None

    @property
    def comparison(self) -> Path:
        """Say where the side-by-side image goes."""
        return self.target.with_name(f'{self.target.stem}_compare.jpg')

    def targets(self, compare: bool) -> list[Path]:
        """List all files that are written for it."""
        return [self.target, self.comparison] if compare else [self.target]


@dataclass(frozen=True)
class Job:
    """Hold what is to be done.

    Attributes:
        items: In the order of their names.
        folder: Below which all targets lie.
        other_files: How many files of a folder were left alone, because their names are not those of images.
        refused: What cannot be restored, as is known before anything is, and why.
    """

    items: list[Item]
    folder: Path
    other_files: int = 0
    refused: list[Problem] = field(default_factory=list)


def find(
    sources: Sequence[str], out: str, ending: str | None = None, compare: bool = False, pages: bool = False
) -> Job:
    """Pair up inputs and outputs.

    Args:
        sources: Files, folders (with all folders in them) and patterns (``photos/**/*.jpg``).
        out: A file's name for a single file, else a folder, as is one that ends in a slash. What lies in it is no
            input.
        ending: That of the outputs, of ``imaging.encoding.ENDINGS``; None: each image's own where it is written, else
            ``png``.
        compare: Whether side-by-side images are written too.
        pages: Whether each image of a file that holds several is restored, under its number.

    Raises:
        OptionsError: Nothing is found, or a result would take the place of its original.
    """
    target = written_path(out)
    is_folder = os.path.basename(out) in ('', os.curdir, os.pardir) or target.is_dir()
    single = len(sources) == 1 and written_path(sources[0]).is_file()
    if single and target.suffix and not is_folder:
        job = Job([Item(written_path(sources[0]), _own_target(target, ending))], target.parent)
    elif target.exists() and not target.is_dir():
        raise OptionsError('OUT', f'expected a folder for several images, but {target} is a file')
    else:
        job = _into_folder(sources, target, ending)
    if pages:
        job = _by_page(job)
    return _checked(job, compare)


def _own_target(target: Path, ending: str | None) -> Path:
    own = target.suffix[1:].lower()
    if own not in WRITTEN:
        raise OptionsError('OUT', f"images are not written as '{target.suffix}'",
                           f'One of {", ".join(KEPT_ENDINGS)}; the name of a folder ends in /')
    if ending is not None and WRITTEN[own] != WRITTEN[ending]:
        raise OptionsError('--format', f"'{ending}' is not what {target} is called", 'Leave one of them out')
    return target


def _into_folder(sources: Sequence[str], out: Path, ending: str | None) -> Job:
    items: list[Item] = []
    refused: list[Problem] = []
    others = 0
    for source in sources:
        found, left, problems = _images(source, out)
        others += left
        refused += problems
        for path, below in found:
            try:
                items.append(Item(path, out / below.with_name(_restored_name(path, ending))))
            except ImageFileError as error:
                refused.append((path, str(error).removeprefix(f'{path}: ')))
    if not items and not refused:
        raise OptionsError('IN', f'no image found in {", ".join(sources)}', f'Images end in {", ".join(ENDINGS)}')
    return Job(items, out, others, refused)


def _restored_name(path: Path, ending: str | None) -> str:
    """Name the result: as the image, whose ending changes where it is one that is not written."""
    stem, own = split_name(path.name)
    content = ''
    if not own and ending is None:
        with open_image(path) as reader:
            content = reader.header.format
    return f'{stem}.{ending_for(path, ending, content)}'


def _images(source: str, out: Path) -> tuple[list[tuple[Path, Path]], int, list[Problem]]:
    """List images and their places below the output folder; count the files that are none; name what is broken."""
    if not source:
        raise OptionsError('IN', 'expected a file, a folder or a pattern, got nothing')
    path = written_path(source)
    if path.is_dir():
        found = list(walk(path, lambda folder: not _is_same(folder, out), _refuse))
        base = path
    elif os.path.lexists(path):
        return ([], 0, [(path, DEAD)]) if not path.exists() else ([(path, Path(path.name))], 0, [])
    elif is_pattern(source):
        base, matching = find_matching(source, lambda folder: not _is_same(folder, out), _refuse)
        found = [entry for entry in matching if has_ending(entry.path.name) or entry.problem]
    else:
        raise OptionsError('IN', f'there is no file or folder {source}')
    problems = [(entry.path, entry.problem) for entry in found if entry.problem and _may_be_image(entry)]
    files = [entry.path for entry in found if not entry.problem]
    kept = [file for file in files if has_ending(file.name)]
    return [(file, file.relative_to(base)) for file in kept], len(found) - len(kept) - len(problems), problems


def _may_be_image(entry: Found) -> bool:
    """Tell whether a link that is no file might have been an image or a folder of them."""
    return entry.problem != DEAD or has_ending(entry.path.name) or not entry.path.suffix


def _refuse(error: OSError) -> None:
    raise OptionsError('IN', f'the folder {error.filename} cannot be read ({error.strerror})') from error


def _is_same(folder: Path, other: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


def _by_page(job: Job) -> Job:
    """Make an item of each image of the files that hold several."""
    items: list[Item] = []
    refused = list(job.refused)
    for item in job.items:
        try:
            with open_image(item.source) as reader:
                count = reader.header.images
        except ImageFileError as error:
            refused.append((item.source, str(error).removeprefix(f'{item.source}: ')))
            continue
        digits = len(str(count))
        names = [f'{item.target.stem}_{number + 1:0{digits}d}{item.target.suffix}' for number in range(count)]
        items += [item] if count == 1 else [
            Item(item.source, item.target.with_name(name), number) for number, name in enumerate(names)
        ]  # fmt: skip
    return Job(items, job.folder, job.other_files, refused)


def _checked(job: Job, compare: bool) -> Job:
    """Give the job without the items of which several would become one file.

    Raises:
        OptionsError: A file would be written in the place of an original, or nothing is left.
    """
    originals = {os.path.realpath(item.source) for item in job.items}
    wanted: dict[str, list[Item]] = {}
    for item in job.items:
        for target in item.targets(compare):
            place = os.path.realpath(target)
            if place in originals:
                raise OptionsError('OUT', f'the original {target} would be replaced', 'Use another folder')
            wanted.setdefault(place, []).append(item)
    problems: dict[Item, str] = {}
    for place, items in wanted.items():
        for item in items if len(items) > 1 else ():
            others = ' and '.join(str(other.source) for other in items if other is not item)
            problems[item] = f'would become {_named(item, place, compare)}, as would {others}. Restore it alone'
    left = [item for item in job.items if item not in problems]
    refused = [*job.refused, *((item.source, problem) for item, problem in problems.items())]
    if not left and not job.refused:
        first, problem = refused[0]
        raise OptionsError('OUT', f'{first} {problem}', 'Into folders of their own, or without --format and --compare')
    return Job(left, job.folder, job.other_files, refused)


def _named(item: Item, place: str, compare: bool) -> Path:
    return next(target for target in item.targets(compare) if os.path.realpath(target) == place)


def folders_of(items: Iterable[Item]) -> dict[Path, list[Item]]:
    """Sort items by the folder that their results go to."""
    found: dict[Path, list[Item]] = {}
    for item in items:
        found.setdefault(item.target.parent, []).append(item)
    return found
