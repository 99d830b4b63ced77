"""What commands say to the person at the terminal, and with which status they end."""

from __future__ import annotations

import sys
from typing import TextIO

GOOD, BAD, USAGE, INTERRUPTED = 0, 1, 2, 130


def say(text: str) -> None:
    """Write a line of the answer."""
    _write(f'{text}\n', sys.stdout)


def note(text: str) -> None:
    """Write a line beside the answer: what is being done, or what went wrong."""
    _write(f'dinoir: {text}\n', sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    """Write; letters that the terminal does not take, and bytes of names that are no UTF-8, as escapes."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or 'ascii'
        stream.write(text.encode(encoding, 'backslashreplace').decode(encoding))
