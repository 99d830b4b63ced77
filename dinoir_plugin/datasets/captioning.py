"""Captions of images by a captioner of the package transformers, for methods that hold images against texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.data.captions import BEFORE_WORD, Caption, read_captions, write_captions
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.sources import open_source
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.encoders.weights import first_line, require_network
from dinoir_plugin.imaging.image_file import read_image, to_pillow

logger = logging.getLogger(__name__)

MODEL = 'Salesforce/blip-image-captioning-large'
TOKENS = 32  # of a caption at most
CLEAN, DEGRADED = 'GT', 'LQ'
SAVED_AFTER = 64  # images; what an interrupted run has written is not done again
LAYOUT = f'<word>/{CLEAN} and <word>/{DEGRADED} in it, or images together with --words'
Captioner = Callable[[Path], str]


class Wanted(NamedTuple):
    """Hold a line of the table that is to be written.

    Attributes:
        file: The degraded image, or the clean one where the degraded one is made.
        clean: The clean image, of which the caption is.
        word: The image's task.
    """

    file: Path
    clean: Path
    word: str


def wanted_in(folder: Path, words: Sequence[str]) -> list[Wanted]:
    """List the images of a folder, word by word.

    Args:
        folder: It holds a folder for each word, with GT (clean) and, unless the degraded images are made, LQ in it; or
            images, which are taken for each word.
        words: Which ones; none: all that have a folder.

    Raises:
        PreparationError: There is no such folder, or nothing of that kind in it.
    """
    if not folder.is_dir():
        raise PreparationError(f'no such folder: {folder}')
    there = sorted(path.parent.name for path in folder.glob(f'*/{CLEAN}') if path.is_dir())
    if there:
        missing = [word for word in words if word not in there]
        if missing:
            raise PreparationError(f'--words: {folder} has no {missing[0]}/{CLEAN}, only {", ".join(there)}')
        return [one for word in words or there for one in _of_word(folder / word, word)]
    if not words:
        raise PreparationError(f'{folder}: expected {LAYOUT}')
    images = _images(folder)
    return [Wanted(image, image, word) for word in words for image in images]


def _of_word(folder: Path, word: str) -> Iterator[Wanted]:
    if not (folder / DEGRADED).is_dir():
        yield from (Wanted(image, image, word) for image in _images(folder / CLEAN))
        return
    options = TaskOptions(dataroot_gt=str(folder / CLEAN), dataroot_lq=str(folder / DEGRADED))
    try:
        task = Task(word, options)
    except OptionsError as error:
        raise PreparationError(f'{folder}: {error.problem}') from error
    for pair in task.pairs:
        if task.lq is not None and pair.lq is not None:
            yield Wanted(Path(task.lq.path(pair.lq)), Path(task.gt.path(pair.gt)), word)


def _images(folder: Path) -> list[Path]:
    try:
        source = open_source(str(folder), 'FOLDER')
    except OptionsError as error:
        raise PreparationError(f'{error.problem}: expected {LAYOUT}') from error
    return [Path(source.path(number)) for number in range(len(source))]


def caption(wanted: Sequence[Wanted], out: Path, captioner: Callable[[], Captioner]) -> tuple[int, int]:
    """Write the table; each clean image is looked at once, and none whose caption the file has already.

    Args:
        wanted: Its lines.
        out: The file; what it holds of these images is kept.
        captioner: Makes the captioner; not called where nothing is left to do.

    Returns:
        How many images were looked at now, and how many lines the file has.

    Raises:
        PreparationError: The file is no such table.
        FileError: It cannot be written.
    """
    known = _known(wanted, out)
    new = list(dict.fromkeys(one.clean for one in wanted if one.clean not in known))
    describe = captioner() if new else None
    for done, image in enumerate(new, start=1):
        if describe is not None:
            known[image] = _in_one_line(describe(image))
        if done % SAVED_AFTER == 0 or done == len(new):
            logger.info('%d of %d images', done, len(new))
            _write(wanted, known, out)
    if not new:
        _write(wanted, known, out)
    return len(new), len(wanted)


def _known(wanted: Sequence[Wanted], out: Path) -> dict[Path, str]:
    if not out.exists():
        return {}
    try:
        written = {(one.file, one.word): one.text for one in read_captions(str(out), '--out')}
    except OptionsError as error:
        raise PreparationError(f'{error.problem}. Delete it, or choose another --out') from error
    found = ((one.clean, written.get((str(one.file), one.word))) for one in wanted)
    return {clean: text for clean, text in found if text is not None}


def _write(wanted: Sequence[Wanted], known: dict[Path, str], out: Path) -> None:
    lines = [Caption(str(one.file), known[one.clean], one.word) for one in wanted if one.clean in known]
    write_captions(out, lines)


def _in_one_line(text: str) -> str:
    """Give a caption that the table can hold: without breaks, and without what stands before the word."""
    return ' '.join(text.replace(BEFORE_WORD, ' ').split())


def blip(model: str = MODEL) -> Captioner:
    """Make BLIP (Li et al., ICML 2022), the authors' captioner.

    Args:
        model: A BLIP on the hub, or its folder.

    Raises:
        PreparationError: The package or the model cannot be had.
    """
    try:
        from transformers import BlipForConditionalGeneration, BlipProcessor
    except ImportError as error:
        problem = f'captions need the package transformers ({error})'
        raise PreparationError(f"{problem}: pip install 'dinoir_plugin[captions]'") from error
    try:
        if not Path(model).is_dir() and not _is_cached(model):
            require_network()
        processor: Any = BlipProcessor.from_pretrained(model)
        network: Any = BlipForConditionalGeneration.from_pretrained(model)
    # transformers and the hub's client raise errors of many kinds
    except Exception as error:
        problem = f"--model: '{model}' cannot be had ({first_line(error)})"
        remedy = f'Fetch https://huggingface.co/{model} on a machine with network access and give its folder'
        raise PreparationError(f'{problem}. {remedy}') from error
    return _captioner(processor, network.eval())


def _is_cached(model: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, 'config.json'), str)


def _captioner(processor: Any, network: Any) -> Captioner:
    import torch

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    network.to(device)

    def describe(path: Path) -> str:
        inputs = processor(to_pillow(read_image(path)).convert('RGB'), return_tensors='pt').to(device)
        with torch.no_grad():
            tokens = network.generate(**inputs, max_new_tokens=TOKENS)
        return str(processor.decode(tokens[0], skip_special_tokens=True))

    return describe
