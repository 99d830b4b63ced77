"""The reference of all options: what their owners declare of them, by option's path."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from dinoir_plugin.core.arguments import argument_kinds
from dinoir_plugin.core.constraints import Holds
from dinoir_plugin.core.construct import OWN, SUFFIX
from dinoir_plugin.core.docstrings import argument_texts, summary
from dinoir_plugin.core.options import LEAVES, Block, alternatives_of, expected, hints_of, is_list, join, taken_apart
from dinoir_plugin.data.degradation_base import DEGRADATION_REGISTRY
from dinoir_plugin.data.options import DatasetOptions
from dinoir_plugin.guidance.guided_arch import GuidedArch
from dinoir_plugin.inference.sampler import SAMPLERS
from dinoir_plugin.metrics.measures import SET_METRIC_REGISTRY
from dinoir_plugin.models.options import RunOptions

HOST = 'basicsr.'
NOTHING = '–'
SET = 'datasets.<set>'
NETWORK = 'network_g'
REQUIRED = {True: 'required', False: '', 'train': 'required for training', 'test': 'required for tests'}
OF_METRICS = ('img', 'img2', 'device')  # what the validation gives


class Entry(NamedTuple):
    """Hold one option.

    Attributes:
        path: Its full path; ``<name>`` stands for a name of the user's, ``[n]`` for a place in a list.
        takes: What it takes, in words.
        default: What it is where it is left out, as an options file writes it; or that it is required.
        text: What it does, in Markdown.
    """

    path: str
    takes: str
    default: str
    text: str


class Section(NamedTuple):
    """Hold the options of one block.

    Attributes:
        title: A heading in Markdown.
        owner: Registered name of the class whose options they are; empty for those of the file itself.
        text: What the class is, one sentence.
        entries: Its options.
        paths: Where the block may stand; the first one is that of the entries.
    """

    title: str
    owner: str
    text: str
    entries: list[Entry]
    paths: tuple[str, ...]


class Chapter(NamedTuple):
    """Hold the sections of one kind.

    Attributes:
        title: What they are.
        sections: They.
        others: Registered names of BasicSR's own of that kind.
    """

    title: str
    sections: list[Section]
    others: list[str]


def reference() -> list[Chapter]:
    """Collect the options of the plugin's classes, and of what BasicSR reads itself."""
    metrics = [*METRIC_REGISTRY, *SET_METRIC_REGISTRY]
    return [
        Chapter('The options file', list(_of_dataclass(RunOptions, '', 'Top level')), []),
        Chapter('Models', _of_models(), []),
        Chapter('Data sets', list(_of_dataclass(DatasetOptions, SET, '', 'MixedDegradationDataset')), []),
        Chapter('Degradations', _of_classes(DEGRADATION_REGISTRY, f'{SET}.tasks.<task>.degradation'), []),
        Chapter('Guided networks', _of_classes(_chosen(ARCH_REGISTRY, guided=True), NETWORK), []),
        Chapter('Networks, and backbones of guided ones',
                _of_classes(_chosen(ARCH_REGISTRY, guided=False), NETWORK, f'{NETWORK}.backbone'),
                _others(ARCH_REGISTRY)),
        Chapter('Losses', _of_classes(LOSS_REGISTRY, 'train.<name>_opt'), _others(LOSS_REGISTRY)),
        Chapter('Metrics', _of_classes(metrics, 'val.metrics.<column>', given=OF_METRICS), _others(metrics)),
        Chapter('Samplers', _of_classes(SAMPLERS.items(), 'val.sampler'), []),
    ]  # fmt: skip


def _of_models() -> list[Section]:
    """Give the plugin's models, with the options that they read beyond those of all."""
    known = {field.name for field in dataclasses.fields(RunOptions)}
    found = []
    for name, kind in _own(MODEL_REGISTRY):
        section = next(_of_dataclass(kind.declares, '', '', name))
        own = [entry for entry in section.entries if entry.path not in known]
        found.append(section._replace(text=summary(kind), entries=own))
    return found


def _of_classes(registry: Any, *paths: str, given: tuple[str, ...] = ()) -> list[Section]:
    return [section for name, kind in _own(registry) for section in _of_class(kind, name, paths, given)]


def _own(registry: Any) -> list[tuple[str, Any]]:
    """Give the plugin's entries of a registry by the names that options files use."""
    return sorted((name.removesuffix(SUFFIX), kind) for name, kind in registry if kind.__module__.startswith(OWN))


def _others(registry: Any) -> list[str]:
    return sorted(name.removesuffix(SUFFIX) for name, kind in registry if kind.__module__.startswith(HOST))


def _chosen(registry: Any, guided: bool) -> list[tuple[str, Any]]:
    return [(name, kind) for name, kind in registry
            if (isinstance(kind, type) and issubclass(kind, GuidedArch)) == guided]  # fmt: skip


def _of_dataclass(kind: type, path: str, title: str, owner: str = '') -> Iterator[Section]:
    """Give the options that a dataclass declares, then those of the dataclasses inside it, each in its section."""
    entries, inside = [], []
    hints = hints_of(kind)
    for field in dataclasses.fields(kind):
        facts, hint = field.metadata, hints[field.name]
        if facts['hidden']:
            continue
        name = field.name
        if facts['keys'] is not None:
            hint, name = get_args(hint)[1], _placeholder(facts['keys'], field.name)
        block, ending = _block_of(hint, name)
        if facts['keys'] == '*' and block is None:  # arguments of whatever class `type` names
            continue
        default = '' if facts['keys'] is not None else REQUIRED[facts['required']] or written(field.default)
        entries.append(Entry(join(path, name), words_for(hint), default, facts['description']))
        if block is not None and block is not Block:
            inside.append((block, join(path, ending)))
    yield Section(title or f'`{owner}`', owner, '', entries, (path,))
    for block, below in inside:
        yield from _of_dataclass(block, below, f'`{below}`', owner)


def _of_class(
    build: Callable[..., Any], owner: str, paths: tuple[str, ...], given: tuple[str, ...] = (), title: str = ''
) -> Iterator[Section]:
    """Give the arguments of a class or function, then those of the blocks among them."""
    hints, texts = argument_kinds(build), argument_texts(build)
    entries, inside = [], []
    for name, parameter in inspect.signature(build).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD and name not in given:
            path, hint = join(paths[0], name), hints.get(name, Any)
            default = 'required' if parameter.default is parameter.empty else written(parameter.default)
            entries.append(Entry(path, words_for(hint), default, texts.get(name, '')))
            inside += [(path, block) for block in _holds(hint)]
    yield Section(title or f'`{owner}`', owner, '' if title else summary(build), entries, paths)
    for path, block in inside:
        for section in _of_class(block.build, owner, (path,), block.given, f'`{owner}`, `{path}`'):
            more = [Entry(join(path, key), 'a block of options', 'required', text) for key, text in block.more.items()]
            yield section._replace(entries=[*section.entries, *more])


def words_for(hint: Any) -> str:
    """Say in words what an annotation takes; of several kinds those that an options file can hold."""
    base, constraints = taken_apart(hint)
    if base is Any:
        return 'anything'
    kinds = [kind for kind in alternatives_of(base) if not _is_foreign(kind)]
    return words_for(kinds[0]) if kinds and not constraints and len(kinds) == 1 else expected(hint)


def written(value: object) -> str:
    """Write a default as an options file has it; a dash where there is none."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(written, value))}]'
    return str(value) or "''"


def _is_foreign(kind: Any) -> bool:
    """Tell whether no options file can hold a value of that kind."""
    base, _ = taken_apart(kind)
    if get_origin(base) is not None or base in LEAVES:
        return False
    return isinstance(base, type) and not dataclasses.is_dataclass(base)


def _holds(hint: Any) -> list[Holds]:
    base, constraints = taken_apart(hint)
    found = [constraint for constraint in constraints if isinstance(constraint, Holds)]
    return found + [block for kind in alternatives_of(base) for block in _holds(kind)]


def _placeholder(pattern: str, field: str) -> str:
    """Make ``<name>_opt`` of ``*_opt``, and ``<set>`` of a pattern for any key whose field is called ``sets``."""
    return f'<{field.removesuffix("s")}>' if pattern == '*' else pattern.replace('*', '<name>')


def _block_of(hint: Any, name: str) -> tuple[type | None, str]:
    """Find the dataclass that an annotation is made of, and how a path goes on to its options."""
    base, _ = taken_apart(hint)
    for kind in alternatives_of(base) or (base,):
        inner, _ = taken_apart(kind)
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            return inner, name
        entry = get_args(inner)[-1] if is_list(inner) or get_origin(inner) is Mapping else None
        if isinstance(entry, type) and dataclasses.is_dataclass(entry):
            return entry, f'{name}[n]' if is_list(inner) else f'{name}.<{name.removesuffix("s")}>'
    return None, name
