"""Which images a command means, and where the restored ones go."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.imaging.encoding import FORMATS, ending_for
from dinoir_plugin.imaging.image_file import ENDINGS

WILDCARDS = '*?['


@dataclass(frozen=True)
class Item:
    """Say where one image is, and where it goes."""

    source: Path
    target: Path

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
        other_files: How many files of a folder were left alone, because their names are not those of images.
    """

    items: list[Item]
    other_files: int = 0


def find(sources: Sequence[str], out: str, ending: str | None = None, compare: bool = False) -> Job:
    """Pair up inputs and outputs.

    Args:
        sources: Files, folders (with all folders in them) and patterns (``photos/**/*.jpg``).
        out: A file's name for a single file, else a folder. What lies in it is no input.
        ending: That of the outputs, of FORMATS; None: each image's own where it is written, else ``png``.
        compare: Whether side-by-side images are written too.

    Raises:
        OptionsError: Nothing is found, two images would get one name, or one would take the place of its original.
    """
    target = Path(out)
    single = len(sources) == 1 and Path(sources[0]).is_file()
    if single and target.suffix and not target.is_dir():
        own = target.suffix[1:].lower()
        if own not in FORMATS:
            raise OptionsError('OUT', f"images are not written as '{target.suffix}'", f'One of {", ".join(FORMATS)}')
        if ending is not None and FORMATS[own] != FORMATS[ending]:
            raise OptionsError('--format', f"'{ending}' is not what {target} is called", 'Leave one of them out')
        return _checked(Job([Item(Path(sources[0]), target)]), compare)
    if target.is_file():
        raise OptionsError('OUT', f'expected a folder for several images, but {target} is a file')
    items: list[Item] = []
    others = 0
    for source in sources:
        found, left = _images(source, target)
        others += left
        for path, below in found:
            items.append(Item(path, target / below.with_suffix(f'.{ending_for(path, ending)}')))
    if not items:
        raise OptionsError('IN', f'no image found in {", ".join(sources)}', f'Images end in {", ".join(ENDINGS)}')
    return _checked(Job(items, others), compare)


def _images(source: str, out: Path) -> tuple[list[tuple[Path, Path]], int]:
    """List images and their places below the output folder, and count the files that are none."""
    path = Path(source)
    if not source:
        raise OptionsError('IN', 'expected a file, a folder or a pattern, got nothing')
    if path.is_dir():
        files = list(_walk(path, out))
        kept = [file for file in files if file.suffix.lower() in ENDINGS]
        return [(file, file.relative_to(path)) for file in kept], len(files) - len(kept)
    if path.exists():
        return [(path, Path(path.name))], 0
    if not any(mark in source for mark in WILDCARDS):
        raise OptionsError('IN', f'there is no file or folder {source}')
    base = Path(*_before_wildcards(path))
    files = sorted(Path(name) for name in glob.glob(source, recursive=True))
    kept = [file for file in files if file.is_file() and file.suffix.lower() in ENDINGS and not _inside(file, out)]
    return [(file, file.relative_to(base)) for file in kept], 0


def _walk(folder: Path, out: Path) -> Iterable[Path]:
    """Walk through all files below a folder in order, but hidden ones and those in the output folder."""

    def refuse(error: OSError) -> None:
        raise OptionsError('IN', f'the folder {error.filename} cannot be read ({error.strerror})') from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith('.')
                            and (Path(place, name).resolve() != out.resolve()))  # fmt: skip
        yield from (Path(place, name) for name in sorted(names) if not name.startswith('.'))


def _inside(file: Path, out: Path) -> bool:
    return out.resolve() in file.resolve().parents


def _before_wildcards(path: Path) -> list[str]:
    parts = []
    for part in path.parts:
        if any(mark in part for mark in WILDCARDS):
            break
        parts.append(part)
    return parts


def _checked(job: Job, compare: bool) -> Job:
    """Give the job back, where no file that it writes is one that it reads or writes already."""
    originals = {item.source.resolve() for item in job.items}
    taken: dict[Path, Path] = {}
    for item in job.items:
        for target in item.targets(compare):
            place = target.resolve()
            if place in originals:
                raise OptionsError('OUT', f'the original {target} would be replaced', 'Use another folder')
            if place in taken:
                raise OptionsError('OUT', f'{taken[place]} and {item.source} would both become {target}',
                                   'Restore them into folders of their own, or leave --format and --compare out')
            taken[place] = item.source
    return job
