"""The reference of the options as it is read: a page of Markdown, or a few options at the terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from dinoir_plugin.core.docstrings import first_sentence
from dinoir_plugin.core.errors import nearest
from dinoir_plugin.core.markdown import table
from dinoir_plugin.preflight.reference import NOTHING, Chapter, Entry, Section, reference

WIDTH = 100
HEADS = ('option', 'takes', 'default', 'what it does')
PLACEHOLDER = re.compile(r'<\w+>')
INTRODUCTION = f"""# Options

All options that BasicSR's trainer and this plugin read, as `dinoir options --markdown` writes them. At the terminal
`dinoir options train.amp` says all that is known of one option, `dinoir options train` of those below it, and
`dinoir options Restormer` of those that a class takes.

`<name>`, `<set>`, `<task>` and `<column>` stand for names of your own, `[n]` for a place in a list, `{NOTHING}` for no
value. Where a block has a `type`, that names a class, and the class's options stand beside it.
"""
NOTES = {
    'Degradations': 'Of `[from, to]` and of `{choices: [...]}` one value is drawn for each image.',
    'Metrics': '`type` is the registered name. `better`, `higher` or `lower`, is needed for a metric of your own only.',
}


def page() -> str:
    """Write the page ``docs/options.md``."""
    return '\n'.join([INTRODUCTION, *(_chapter(chapter) for chapter in reference())])


def answer(word: str, files: Iterable[str]) -> str:
    """Say what is known of an option and of all below it, or of those of a class.

    Args:
        word: A path such as ``train.amp`` or ``datasets.val_rain.tasks``, a part of one, or a class's name.
        files: Names of options files, which the word could have meant, too.

    Raises:
        ValueError: There is none of that name; it names the nearest.
    """
    sections = [section for chapter in reference() for section in chapter.sections]
    found = _chosen(word, sections)
    if not found:
        paths = {entry.path for section in sections for entry in section.entries}
        owners = {section.owner for section in sections if section.owner}
        words = paths | {path.rpartition('.')[2] for path in paths} | owners | set(files)
        raise ValueError(f"there is no options file and no option '{word}': {nearest(word, words)}")
    return '\n'.join(_lines(section, entry) for section, entry in found)


def _chosen(word: str, sections: Iterable[Section]) -> list[tuple[Section, Entry]]:
    """Find options by the beginning of their path, else by a class's name, else by any part of their path."""
    parts = word.split('.')
    every = [(section, entry) for section in sections for entry in section.entries]
    begins = [(section, entry) for section, entry in every
              if any(_fits(parts, path.split('.')[: len(parts)]) for path in _paths(section, entry))]  # fmt: skip
    named = [(section, entry) for section, entry in every if section.owner == word]
    return begins or named or [(section, entry) for section, entry in every if f'.{word}.' in f'.{entry.path}.']


def _paths(section: Section, entry: Entry) -> Iterator[str]:
    """Give all paths under which an option may stand."""
    for path in section.paths:
        yield path + entry.path.removeprefix(section.paths[0])


def _fits(parts: list[str], path: list[str]) -> bool:
    """Tell whether the parts of a path that somebody has written are those of an option, with names and places in."""
    patterns = (PLACEHOLDER.sub('[^.]+', re.escape(part).replace(r'\[n\]', r'(\[\w+\])?')) for part in path)
    return len(parts) == len(path) and all(re.fullmatch(*pair) for pair in zip(patterns, parts))


def _lines(section: Section, entry: Entry) -> str:
    """Write an option for the terminal."""
    owner = f' of {section.owner}' if section.owner else ''
    default = entry.default if _is_word(entry.default) else f'default {entry.default}'
    more = '' if entry.default in ('', NOTHING) else f'; {default}'
    text = textwrap.wrap(entry.text, WIDTH, initial_indent='    ', subsequent_indent='    ')
    return '\n'.join([f'{entry.path}{owner}: {entry.takes}{more}', *text])


def _chapter(chapter: Chapter) -> str:
    """Write a chapter: a table for each section."""
    lines = [f'## {chapter.title}', '']
    if chapter.title in NOTES:
        lines += [NOTES[chapter.title], '']
    for section in chapter.sections:
        lines += [f'### {section.title}', '']
        if section.text:
            lines += [section.text, '']
        if section.entries:
            lines.append(table(HEADS, map(_row, section.entries)))
    if chapter.others:
        names = ', '.join(f'`{name}`' for name in chapter.others)
        lines += [f"BasicSR's own, with the arguments of their constructors: {names}.", '']
    return '\n'.join(lines)


def _row(entry: Entry) -> list[str]:
    default = entry.default if _is_word(entry.default) else f'`{entry.default}`'
    cells = [f'`{entry.path}`', entry.takes, default, first_sentence(entry.text)]
    return [cell.replace('|', r'\|') for cell in cells]


def _is_word(default: str) -> bool:
    """Tell whether it is no value but a word about one."""
    return default in ('', NOTHING) or default.startswith('required')
