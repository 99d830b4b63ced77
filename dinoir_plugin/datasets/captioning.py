"""Captions of images by a captioner of the package transformers, for methods that hold images against texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image

from dinoir_plugin.core.errors import OptionsError
from dinoir_plugin.core.options import read
from dinoir_plugin.core.yaml_options import OptionsLoader
from dinoir_plugin.data.captions import BEFORE_WORD, Caption, read_captions, write_captions
from dinoir_plugin.data.options import TaskOptions
from dinoir_plugin.data.sources import Source, open_source
from dinoir_plugin.data.task import Task
from dinoir_plugin.datasets.errors import PreparationError
from dinoir_plugin.encoders.weight_files import first_line, require_network
from dinoir_plugin.imaging.decoding import Array

logger = logging.getLogger(__name__)

MODEL = 'Salesforce/blip-image-captioning-large'
TOKENS = 32  # of a caption at most
CLEAN, DEGRADED = 'GT', 'LQ'
SAVED_AFTER = 64  # images; what an interrupted run has written is not done again
LAYOUT = f'<word>/{CLEAN} and <word>/{DEGRADED} in it, or images together with --words'
OPTIONS = ('.yml', '.yaml')
# from an image (H, W, 3), RGB, uint8, to what is to be seen in it
Captioner = Callable[[Array], str]


class Wanted(NamedTuple):
    """Hold a line of the table that is to be written.

    Attributes:
        file: Of the degraded image, or of the clean one where the degraded one is made.
        source: Of the clean images.
        number: Of the image there of which the caption is.
        word: The image's task.
    """

    file: str
    source: Source
    number: int
    word: str

    @property
    def clean(self) -> str:
        """Name the clean image."""
        return self.source.path(self.number)


def wanted_in(place: Path, words: Sequence[str]) -> list[Wanted]:
    """List the images of a folder or of the training set of an options file, word by word.

    Args:
        place: A training's options file; or a folder with a folder for each word, with GT (clean) and, unless the
            degraded images are made, LQ in it; or a folder of images, which are taken for each word.
        words: Which ones; none: all tasks of the file, or all that have a folder.

    Raises:
        PreparationError: There is no such place, or nothing of that kind in it.
        OptionsError: The options file has no such training set.
    """
    if place.suffix in OPTIONS:
        return _of_options(place, words)
    if not place.is_dir():
        raise PreparationError(f'no such folder: {place}')
    there = sorted(path.parent.name for path in place.glob(f'*/{CLEAN}') if path.is_dir())
    if there:
        _check_words(words, there, f'{place} has no folder with {CLEAN} of that name')
        return [one for word in words or there for one in _of_word(place / word, word)]
    if not words:
        raise PreparationError(f'{place}: expected {LAYOUT}')
    try:
        source = open_source(str(place), 'FOLDER')
    except OptionsError as error:
        raise PreparationError(f'{error.problem}: expected {LAYOUT}') from error
    return [Wanted(source.path(number), source, number, word) for word in words for number in range(len(source))]


def _check_words(words: Sequence[str], there: Sequence[str], problem: str) -> None:
    for word in words:
        if word not in there:
            raise PreparationError(f"--words: '{word}': {problem}, only {', '.join(there)}")


def _of_options(file: Path, words: Sequence[str]) -> list[Wanted]:
    if not file.is_file():
        raise PreparationError(f'no such file: {file}')
    content = yaml.load(file.read_text(encoding='utf-8'), Loader=OptionsLoader)
    path = 'datasets.train.tasks'
    blocks = ((content.get('datasets') or {}).get('train') or {}).get('tasks')
    tasks: Mapping[str, TaskOptions] = read(Mapping[str, TaskOptions], blocks, path)
    _check_words(words, list(tasks), f'{file} has no task of that name')
    return [one for word in words or tasks for one in _of_task(Task(word, tasks[word]))]


def _of_word(folder: Path, word: str) -> Iterator[Wanted]:
    paired = (folder / DEGRADED).is_dir()
    try:
        if not paired:
            source = open_source(str(folder / CLEAN), 'FOLDER')
            return iter([Wanted(source.path(number), source, number, word) for number in range(len(source))])
        task = Task(word, TaskOptions(dataroot_gt=str(folder / CLEAN), dataroot_lq=str(folder / DEGRADED)))
    except OptionsError as error:
        raise PreparationError(f'{folder}: {error.problem}') from error
    return _of_task(task)


def _of_task(task: Task) -> Iterator[Wanted]:
    for pair in task.pairs:
        file = task.gt.path(pair.gt) if task.lq is None or pair.lq is None else task.lq.path(pair.lq)
        yield Wanted(file, task.gt, pair.gt, task.name)


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
    new = {one.clean: one for one in wanted if one.clean not in known}
    describe = captioner() if new else None
    for done, (image, one) in enumerate(new.items(), start=1):
        if describe is not None:
            rgb = Task.decode(one.source, one.number)[..., ::-1]
            known[image] = _in_one_line(describe(np.ascontiguousarray(rgb)))
        if done % SAVED_AFTER == 0 or done == len(new):
            logger.info('%d of %d images', done, len(new))
            _write(wanted, known, out)
    if not new:
        _write(wanted, known, out)
    return len(new), len(wanted)


def _known(wanted: Sequence[Wanted], out: Path) -> dict[str, str]:
    if not out.exists():
        return {}
    try:
        written = {(one.file, one.word): one.text for one in read_captions(str(out), '--out')}
    except OptionsError as error:
        raise PreparationError(f'{error.problem}. Delete it, or choose another --out') from error
    found = ((one.clean, written.get((one.file, one.word))) for one in wanted)
    return {clean: text for clean, text in found if text is not None}


def _write(wanted: Sequence[Wanted], known: dict[str, str], out: Path) -> None:
    lines = [Caption(one.file, known[one.clean], one.word) for one in wanted if one.clean in known]
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

    def describe(image: Array) -> str:
        inputs = processor(Image.fromarray(image), return_tensors='pt').to(device)
        with torch.no_grad():
            tokens = network.generate(**inputs, max_new_tokens=TOKENS)
        return str(processor.decode(tokens[0], skip_special_tokens=True))

    return describe
