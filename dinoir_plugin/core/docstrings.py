"""Read from docstrings in Google's style what they say of arguments, for the reference of the options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

ARGUMENT = re.compile(r'    \*{0,2}(\w+): (.*)')
# :class:`~a.b.C` and :meth:`of_step` are the name alone; ``x`` is `x` in Markdown
ROLE = re.compile(r':\w+:`~?(?:[\w.]*\.)?(\w+)`')
FORMULA = re.compile(r':math:`([^`]+)`')
LITERAL = re.compile(r'``(.+?)``')
# a full stop before a new sentence, and none of an abbreviation
END = re.compile(r'(?<!e\.g)(?<!i\.e)(?<!eq)\.\s+(?=[A-Z`{\[])')


def argument_texts(build: Callable[..., Any]) -> dict[str, str]:
    """Give what is said of each argument under ``Args``, in Markdown; a class also has its bases' arguments."""
    found: dict[str, str] = {}
    for kind in inspect.getmro(build) if isinstance(build, type) else (build,):
        for name, text in _of_docstring(kind.__doc__ or '').items():
            found.setdefault(name, text)
    return found


def summary(build: Callable[..., Any]) -> str:
    """Give the first sentence of a class's or function's docstring, in Markdown."""
    return first_sentence(markdown(inspect.cleandoc(build.__doc__ or '').partition('\n\n')[0]))


def markdown(text: str) -> str:
    """Write a docstring's text in Markdown, in one line."""
    text = FORMULA.sub(r'$\1$', ' '.join(text.split()))
    return LITERAL.sub(r'`\1`', ROLE.sub(r'`\1`', text))


def first_sentence(text: str) -> str:
    """Cut a text after its first sentence, which gets its full stop."""
    return f'{END.split(text, maxsplit=1)[0].rstrip(".")}.'


def _of_docstring(docstring: str) -> dict[str, str]:
    lines = inspect.cleandoc(docstring).splitlines()
    if 'Args:' not in lines:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines[lines.index('Args:') + 1 :]:
        match = ARGUMENT.fullmatch(line)
        if line and not line.startswith('    '):
            break
        if match:
            found[match[1]] = [match[2]]
        elif found:
            found[next(reversed(found))].append(line)
    return {name: markdown(' '.join(text)) for name, text in found.items()}
