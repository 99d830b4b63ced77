"""Where images are read from: a folder of image files, or one of BasicSR's LMDB folders.

Both list their images by key (the file name without its extension), sorted by key, so that a folder and the LMDB
made from it hold the same images under the same numbers.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

import lmdb
from basicsr.utils.file_client import FileClient

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.meta_info import SHAPE, read_lines
from dinoir_plugin.imaging.formats import ENDINGS, composed, has_ending, split_name
from dinoir_plugin.imaging.paths import is_dead, written_path
from dinoir_plugin.imaging.reading import Check, check_trainable, image_size


class Source(ABC):
    """Give images in a fixed order.

    Args:
        root: The folder.
        keys: Names without extension, in order, their letters composed.
    """

    def __init__(self, root: str, keys: list[str]) -> None:
        self.root = root
        self.keys = keys
        self._numbers = {key: number for number, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, key: str) -> int | None:
        """Find the number of the image called ``key``, None where there is none."""
        return self._numbers.get(composed(key))

    @abstractmethod
    def read(self, number: int) -> bytes:
        """Read the encoded bytes of an image."""

    @abstractmethod
    def path(self, number: int) -> str:
        """Name an image for errors and results: root and file name with extension."""

    @abstractmethod
    def size(self, number: int) -> tuple[int, int]:
        """Give height and width, found without decoding."""


class FolderSource(Source):
    """Read the images of one folder; sub-folders, hidden files and files that are no images are passed over.

    Links are followed. One that leads nowhere is an image that cannot be read.

    Args:
        root: The folder.
        option: Path of the option that names the folder, for errors.
        suffixes: Extensions to look for, in small letters with the dot.
    """

    check: Check = staticmethod(check_trainable)

    def __init__(self, root: str, option: str, suffixes: tuple[str, ...] = ENDINGS) -> None:
        by_key: dict[str, str] = {}
        for name in sorted(_image_names(root, suffixes)):
            key = composed(split_name(name, suffixes)[0])
            if key in by_key:
                raise OptionsError(option, f'{by_key[key]} and {name} in {root} share the name {key}',
                                   'Images are matched by name without extension: keep one of them')
            by_key[key] = name
        if not by_key:
            raise OptionsError(option, f'no image file in {root}', f'Looked for {" ".join(suffixes)}')
        keys = sorted(by_key)
        super().__init__(root, keys)
        self._names = [by_key[key] for key in keys]

    def path(self, number: int) -> str:
        """Give the full path of the file."""
        return os.path.join(self.root, self._names[number])

    def read(self, number: int) -> bytes:
        """Read the file's bytes."""
        path = self.path(number)
        if not os.path.exists(path) and os.path.islink(path):
            raise ValueError(f'{path}: the link leads nowhere')
        with open(path, 'rb') as file:
            return file.read()

    def size(self, number: int) -> tuple[int, int]:
        """Read height and width from the file's header.

        Raises:
            ValueError: The header is no image's, or says what decoding would refuse.
        """
        return image_size(self.path(number), check=self.check)


def _image_names(root: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(root) as entries:
        for entry in entries:
            if has_ending(entry.name, suffixes) and (is_dead(entry) or entry.is_file()):
                yield entry.name


class LmdbSource(Source):
    """Read an LMDB folder as BasicSR's `make_lmdb_from_imgs` writes it.

    BasicSR takes a line of meta_info.txt up to the first dot for the key, which fails for ``0001_0.8_0.2.png``;
    here only the extension is dropped, as the writer's own documentation says.

    Args:
        root: The folder, ending in .lmdb.
        option: Path of the option that names the folder, for errors.
    """

    def __init__(self, root: str, option: str) -> None:
        meta = os.path.join(root, 'meta_info.txt')
        if not os.path.isfile(meta) or not os.path.isfile(os.path.join(root, 'data.mdb')):
            raise OptionsError(option, f'expected data.mdb and meta_info.txt in {root}',
                               "Make the LMDB with BasicSR's make_lmdb_from_imgs")
        entries: dict[str, tuple[str, tuple[int, int, int]]] = {}
        for count, line in enumerate(read_lines(meta), start=1):
            match = SHAPE.fullmatch(line)
            if match is None:
                raise OptionsError(option, f'{meta}, entry {count}: expected a name and (h,w,c), got {line!r}')
            shape = int(match['h']), int(match['w']), int(match['c'] or 1)
            entries[composed(split_name(match['name'])[0])] = match['name'], shape
        if not entries:
            raise OptionsError(option, f'no entry in {meta}')
        keys = sorted(entries)
        super().__init__(root, keys)
        self._names = [entries[key][0] for key in keys]
        self._shapes = [entries[key][1] for key in keys]

    def path(self, number: int) -> str:
        """Give folder and name; with the extension, because validation cuts one off to name its results."""
        return os.path.join(self.root, self._names[number])

    def read(self, number: int) -> bytes:
        """Read the bytes stored under the image's key.

        Raises:
            ValueError: The LMDB cannot be opened, or does not hold a key that meta_info.txt lists.
        """
        try:
            data = _CLIENTS.get(self.root).get(split_name(self._names[number])[0], 'images')
        except lmdb.Error as error:
            raise ValueError(f'{self.root}: data.mdb cannot be read as an LMDB ({error}). Make it again.') from error
        if data is None:
            raise ValueError(f'{self.root}: meta_info.txt lists {self.keys[number]!r}, but the LMDB does not hold it. '
                             'Make it again.')
        return bytes(data)

    def size(self, number: int) -> tuple[int, int]:
        """Give height and width from meta_info.txt.

        Raises:
            ValueError: It has another number of channels than one or three.
        """
        height, width, channels = self._shapes[number]
        if channels not in (1, 3):
            raise ValueError(f'{self.path(number)}: expected grey or colour, got {channels} channels (transparency). '
                             'Save it without an alpha channel.')
        return height, width


class _LmdbClients:
    """Hold BasicSR's LMDB readers of this process, one for each LMDB.

    LMDB allows one handle on a file in a process (two tasks may share their clean images), and none that was
    inherited through fork; so the handles live here, outside the data sets, which also lets those be pickled.
    """

    def __init__(self) -> None:
        self._clients: dict[str, FileClient] = {}
        self._pid = os.getpid()

    def get(self, root: str) -> FileClient:
        if self._pid != os.getpid():
            # Dropping the parent's handles comes first: while one is alive LMDB refuses to open its file again.
            self._clients.clear()
            self._pid = os.getpid()
        key = os.path.realpath(root)
        if key not in self._clients:
            self._clients[key] = FileClient('lmdb', db_paths=key, client_keys='images')
        return self._clients[key]


_CLIENTS = _LmdbClients()


def folder_path(value: object, option: str) -> str:
    """Give an existing folder from an options file, with ~ expanded."""
    if not isinstance(value, str) or not value:
        raise OptionsError(option, f'expected a folder, got {value!r}')
    root = str(written_path(value))
    if not os.path.exists(root):
        place = '' if os.path.isabs(root) else f'; the path is relative to {os.getcwd()}'
        raise OptionsError(option, f'no such folder: {root}{place}')
    if not os.path.isdir(root):
        raise OptionsError(option, f'expected a folder, but {root} is a file')
    return root


def open_source(value: object, option: str) -> Source:
    """Open the images that a ``dataroot_*`` option names: an LMDB where the path ends in .lmdb, else a folder."""
    root = folder_path(value, option)
    return LmdbSource(root, option) if root.rstrip(os.sep).endswith('.lmdb') else FolderSource(root, option)
