"""Tables as text: in Markdown, for reports and results, and in columns, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; no cell is padded, so that a changed figure changes its own line only."""
    lines = [row_of(heads), '|---' * len(heads) + '|', *map(row_of, rows)]
    return '\n'.join(lines) + '\n'


def row_of(cells: Sequence[object]) -> str:
    """Write one line of a table."""
    return f'| {" | ".join(map(str, cells))} |'


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Line up the cells of rows that are equally long, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows)
