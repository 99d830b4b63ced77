"""One LMDB root in BasicSR's format, written bit by bit so that an interrupted preparation can go on.

Beside data.mdb and meta_info.txt a root holds preparation.json: with which options it was made and from what, and
whether it is finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lmdb

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.datasets.recipe import LEVELS, Recipe
from dinoir_plugin.imaging.decoding import stored_size

RECORD = 'preparation.json'
META = 'meta_info.txt'
MAP_SIZE = 1 << 28


def read_record(root: Path) -> dict[str, Any] | None:
    """Read what preparation.json of a root says, None where there is no root yet.

    Raises:
        PreparationError: There is an LMDB that was made by something else.
    """
    path = root / RECORD
    if path.is_file():
        return json.loads(path.read_text(encoding='utf-8'))
    if root.exists() and any(root.iterdir()):
        raise PreparationError(f'{root} was made by something else: it has no {RECORD}. Delete it, or choose another '
                               '--out')
    return None


def check_recipe(root: Path, recipe: Recipe) -> None:
    """Refuse to add to a root that was made with other options."""
    record = read_record(root)
    if record is not None and record['recipe'] != _recipe_data(recipe):
        raise PreparationError(f'{root} was made with {_recipe_text(record["recipe"])}, but now the options are '
                               f'{_recipe_text(_recipe_data(recipe))}. Delete it, or choose another --out')


def _recipe_data(recipe: Recipe) -> dict[str, Any]:
    # a list, as it comes back from JSON
    return {'encoding': recipe.encoding, 'sub_images': list(recipe.sub_images) if recipe.sub_images else None}


def _recipe_text(data: Mapping[str, Any]) -> str:
    pieces = data['sub_images']
    return f'--encoding {data["encoding"]} and ' + (f'--sub-images {pieces[0]} {pieces[1]}' if pieces else
                                                    'whole images')


class Store:
    """Write one root.

    Args:
        root: The folder, ending in .lmdb.
        owner: Name of the data set that writes; several may share a root.
        prefix: In front of all of the owner's keys.
        recipe: How images are kept.
        digest: Of the owner's keys, see `SplitPlan`.
        map_size: Room to begin with in bytes; it grows.

    Raises:
        PreparationError: The root was made with other options or from other images.
    """

    def __init__(self, root: Path, owner: str, prefix: str, recipe: Recipe, digest: str, map_size: int) -> None:
        check_recipe(root, recipe)
        self.root = root
        self._owner = owner
        self._encoding = recipe.encoding
        self._record = read_record(root) or {'recipe': _recipe_data(recipe), 'sets': {}}
        entry = self._record['sets'].setdefault(owner, {'prefix': prefix, 'digest': digest, 'finished': False})
        if entry['digest'] != digest:
            raise PreparationError(f'{root} was made from other images of {owner} than would go into it now. '
                                   'Delete it, or choose another --out')
        root.mkdir(parents=True, exist_ok=True)
        # The record first: what an interruption leaves behind can then be told from somebody else's LMDB.
        self._write_record()
        self._environment = lmdb.open(str(root), map_size=map_size, readahead=False, meminit=False)

    @property
    def finished(self) -> bool:
        """Say whether the owner's part is complete."""
        return bool(self._record['sets'][self._owner]['finished'])

    def held(self, keys: Iterable[str]) -> set[str]:
        """Find those of the keys that are committed."""
        with self._environment.begin(buffers=True) as transaction:
            return {key for key in keys if transaction.get(key.encode('ascii')) is not None}

    def commit(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Write records in one transaction; where there is no room, twice the room and once more."""
        records = list(records)
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, data in records:
                        transaction.put(key.encode('ascii'), data)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()['map_size'])

    def finish(self, images: int, sources: list[str]) -> None:
        """List the images in meta_info.txt, then mark the owner's part as complete.

        Args:
            images: Number of whole images, for the summary.
            sources: What they were made from, see `source_identity`.
        """
        entry = self._record['sets'][self._owner]
        listed = {name: part['prefix'] for name, part in self._record['sets'].items()
                  if part['finished'] or name == self._owner}
        lines = []
        records = 0
        with self._environment.begin(buffers=True) as transaction:
            for raw, data in transaction.cursor():
                key = bytes(raw).decode('ascii')
                if key.startswith(tuple(listed.values())):
                    size = stored_size(data)
                    if size is None:
                        raise PreparationError(f'{self.root}: {key} is neither PNG nor BMP. Delete the folder')
                    lines.append(f'{key}.{self._encoding} ({size[0]},{size[1]},3) {LEVELS[self._encoding]}\n')
                    records += key.startswith(entry['prefix'])
        write_atomic(self.root / META, ''.join(lines).encode())
        entry.update(finished=True, images=images, records=records, sources=sources)
        self._write_record()

    def close(self) -> None:
        """Close the LMDB; one process can have it open once only."""
        self._environment.close()

    def _write_record(self) -> None:
        write_atomic(self.root / RECORD, (json.dumps(self._record, indent=1) + '\n').encode())
