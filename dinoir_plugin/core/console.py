"""What commands say to the person at the terminal, and with which status they end."""

from __future__ import annotations

import sys

GOOD, BAD, USAGE, INTERRUPTED = 0, 1, 2, 130


def say(text: str) -> None:
    """Write a line of the answer."""
    sys.stdout.write(f'{text}\n')


def complain(text: str) -> None:
    """Write a line about what went wrong."""
    sys.stderr.write(f'dinoir: {text}\n')
