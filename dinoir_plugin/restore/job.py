"""Restoring many images: one that fails does not stop the rest, and what is there is whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from dinoir_plugin.core.atomic_files import write_atomic
from dinoir_plugin.imaging.encoding import DEFAULT_QUALITY, check_writable, encode_image
from dinoir_plugin.imaging.image_file import read_image
from dinoir_plugin.imaging.paths import image_name
from dinoir_plugin.restore.claims import Claims
from dinoir_plugin.restore.comparison import comparison
from dinoir_plugin.restore.files import Item, Job
from dinoir_plugin.restore.restorer import Restorer


@dataclass
class Outcome:
    """Count what became of the images.

    Attributes:
        restored: How many were written.
        skipped: How many were there already.
        failed: Those that could not be restored, and why.
    """

    restored: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Writing:
    """Say how results are written.

    Attributes:
        quality: Of JPEG and WebP, 1 to 100.
        compare: Whether a side-by-side image goes beside each.
        resume: Whether images whose result is there, or that another process is at, are left out.
    """

    quality: int = DEFAULT_QUALITY
    compare: bool = False
    resume: bool = False


def run(job: Job, restorer: Restorer, writing: Writing, outcome: Outcome, show_progress: bool = True) -> None:
    """Restore all images of a job; with ``writing.resume`` several processes share them.

    Args:
        job: Sources and targets; a target that is there is replaced, unless ``writing.resume``.
        restorer: Does it.
        writing: How.
        outcome: Kept up to date, so that an interrupted caller knows how far it came.
        show_progress: Whether a bar shows images per second and the time left.
    """
    waiting = [item for item in job.items if not (writing.resume and item.target.exists())]
    outcome.skipped = len(job.items) - len(waiting)
    if not waiting:
        return
    with tqdm(total=len(waiting), unit='image', disable=not show_progress, dynamic_ncols=True) as bar:

        def attempt(item: Item) -> None:
            bar.set_description(item.source.name[:30])
            if writing.resume and item.target.exists():
                outcome.skipped += 1
            else:
                try:
                    _restore(item, restorer, writing, show_progress)
                    outcome.restored += 1
                except Exception as error:  # noqa: BLE001 - one odd file must not end the others, whatever is met
                    outcome.failed.append((item.source, reason(error, item.source)))
            bar.update()

        if not writing.resume:
            for item in waiting:
                attempt(item)
            return
        with Claims(job.folder) as claims:
            taken = []
            for item in waiting:
                with claims.on(item.target, wait=False) as is_ours:
                    if is_ours:
                        attempt(item)
                    else:
                        taken.append(item)
            # what others were at: done by now, or theirs no more
            for item in taken:
                with claims.on(item.target, wait=True):
                    attempt(item)


def _restore(item: Item, restorer: Restorer, writing: Writing, show_progress: bool) -> None:
    image = read_image(item.source, item.number)
    ending = item.target.suffix[1:]
    check_writable(image, ending)
    unit = 'tile' if restorer.sampler.calls(restorer.network) == 1 else 'step'
    with tqdm(unit=unit, leave=False, disable=not show_progress, dynamic_ncols=True, delay=1, position=1) as tiles:

        def on_tile(done: int, count: int) -> None:
            tiles.total = count
            tiles.update(done - tiles.n)

        restored = restorer.restore_decoded(image, on_tile, image_name(item.source))
    data = encode_image(restored, ending, writing.quality)
    item.target.parent.mkdir(parents=True, exist_ok=True)
    if writing.compare:
        # before the image itself, whose presence says that all is done
        write_atomic(item.comparison, comparison(image, restored))
    write_atomic(item.target, data)


def reason(error: Exception, source: Path) -> str:
    """Give one line about an error, without the file's name, which stands before it."""
    text = ' '.join(str(error).split()).removeprefix(f'{source}: ')
    if not isinstance(error, (ValueError, OSError, RuntimeError, MemoryError)):
        text = f'{type(error).__name__}: {text}'
    if isinstance(error, MemoryError) or 'not enough memory' in text or 'out of memory' in text.lower():
        return 'more memory was asked for than there is. Try --tile 256'
    return text[:300] or type(error).__name__
