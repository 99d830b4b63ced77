"""A table of everything in a run that can be looked at beforehand; one fault does not hide the next."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dinoir_plugin.core.errors import OptionsError

OK, WARNING, ERROR, NOT_CHECKED = 'ok', 'warning', 'error', 'not checked'
HEADINGS = ('part', 'verdict', 'looked at')
PACKAGE = Path(__file__).parents[1]


class NotCheckedError(Exception):
    """Raised by a check that cannot say anything; its text says why."""


@dataclass
class Finding:
    """Hold one line of the table.

    Attributes:
        part: Path of the options that it is about.
        looked: What was looked at, in a few words.
        verdict: OK, WARNING, ERROR or NOT_CHECKED.
        messages: What training would say, in full.
    """

    part: str
    looked: str
    verdict: str = OK
    messages: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Add a message; an error stays one."""
        self.messages.append(message)
        if self.verdict == OK:
            self.verdict = WARNING


@dataclass
class Report:
    """Collect what was found.

    Attributes:
        rows: The table.
        bad_images: A sentence for each file that cannot be used, in order, each once.
        has_bad_schema: Whether keys of the options are unknown, missing or of the wrong kind.
    """

    rows: list[Finding] = field(default_factory=list)
    bad_images: dict[str, None] = field(default_factory=dict)
    has_bad_schema: bool = False

    def add(self, row: Finding) -> None:
        """Append a row."""
        self.rows.append(row)

    def attempt(self, part: str, check: Callable[[], str]) -> bool:
        """Run a check and add its row.

        Args:
            part: Path of the options.
            check: Raises where something is wrong, warns, and returns what it looked at.

        Returns:
            Whether it came to its end.
        """
        row = Finding(part, '')
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', UserWarning)
            try:
                row.looked = check()
            except OptionsError as error:
                row.verdict, row.messages = ERROR, [str(error)]
            except NotCheckedError as reason:
                row.verdict, row.looked = NOT_CHECKED, str(reason)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one part must not hide the others
                # without the keys that the schema misses, parts fail in ways that say nothing
                row.verdict = NOT_CHECKED if self.has_bad_schema else ERROR
                row.messages = [] if self.has_bad_schema else [f'{part}: {type(error).__name__}: {error}']
        for warning in caught:
            # those of other libraries are no concern of the options file
            if issubclass(warning.category, UserWarning) and Path(warning.filename).is_relative_to(PACKAGE):
                row.warn(str(warning.message))
        self.add(row)
        return row.verdict in (OK, WARNING)

    def skip(self, part: str, why: str) -> None:
        """Add the row of a part that cannot be checked."""
        self.add(Finding(part, why, NOT_CHECKED))

    def failed(self, part: str) -> bool:
        """Tell whether a part has a row without a good end."""
        return any(row.part == part and row.verdict in (ERROR, NOT_CHECKED) for row in self.rows)

    @property
    def has_errors(self) -> bool:
        """Tell whether training would stop."""
        return any(row.verdict == ERROR for row in self.rows)

    def text(self) -> str:
        """Write bad images, then the table, with each row's messages below it, then a count."""
        lines = []
        if self.bad_images:
            lines += [f'Images that cannot be used ({len(self.bad_images)}):',
                      *(f'  {sentence}' for sentence in self.bad_images), '']
        cells = [(row.part, row.verdict, row.looked) for row in self.rows]
        widths = [max(len(cell[column]) for cell in (HEADINGS, *cells)) for column in (0, 1)]
        lines.append(_line(HEADINGS, widths))
        for cell, row in zip(cells, self.rows):
            lines.append(_line(cell, widths))
            lines += [f'    {message}' for message in row.messages]
        return '\n'.join([*lines, '', self._count()])

    def _count(self) -> str:
        verdicts = [row.verdict for row in self.rows]
        counts = {verdict: verdicts.count(verdict) for verdict in (ERROR, WARNING, NOT_CHECKED)}
        found = [f'{count} {verdict}{"s" if count > 1 and verdict != NOT_CHECKED else ""}'
                 for verdict, count in counts.items() if count]
        return ', '.join(found) if found else 'All is well.'


def _line(cells: tuple[str, str, str], widths: list[int]) -> str:
    return f'{cells[0]:{widths[0]}}  {cells[1]:{widths[1]}}  {cells[2]}'.rstrip()
