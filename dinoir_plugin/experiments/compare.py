"""Two runs or more beside each other, image by image: what ``dinoir compare`` says."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dinoir_plugin.core.markdown import columns, table
from dinoir_plugin.experiments.measured import RunError
from dinoir_plugin.experiments.paired import Difference, difference, digits, statement
from dinoir_plugin.experiments.run_results import Group, RunResults, TaskResult, grouped, paired_runs, read_run
from dinoir_plugin.experiments.table_rows import NOTHING

NAMES = string.ascii_uppercase  # of the sides
HEADS = ('set', 'metric', 'images', '{0}', '{1}', '{1} - {0}', 'SD', '95 % interval', 'what can be said')
Pairs = Sequence[tuple[RunResults, RunResults]]


class Compared(NamedTuple):
    """Hold what two groups of runs have in common.

    Attributes:
        rows: Cells of a table, as HEADS has them.
        remarks: Sentences on what was left out.
    """

    rows: list[Sequence[str]]
    remarks: list[str]


def find_groups(runs: Sequence[Path], a: Sequence[Path] = (), b: Sequence[Path] = ()) -> list[Group]:
    """Read the runs to be compared.

    Args:
        runs: Folders; those that differ by seed become one group, and the first group is the reference.
        a: Folders of one group, the reference, in place of ``runs``.
        b: Folders of the other.

    Raises:
        RunError: There are no two groups, or a folder has no figures.
    """
    if bool(a) != bool(b) or bool(a) == bool(runs):
        raise RunError('expected folders of runs, EXP1 EXP2 ..., or two groups of them, --a EXP ... --b EXP ...')
    if a:
        return [Group(f'{len(side)} runs, {side[0]} ...' if len(side) > 1 else str(side[0]), list(map(read_run, side)))
                for side in (a, b)]  # fmt: skip
    groups = grouped(map(read_run, runs))
    if len(groups) < 2:
        raise RunError(f'{groups[0].name}: expected two runs or more, but these are one, or one with several seeds. '
                       'Two trainings of one network are compared by --a EXP --b EXP')  # fmt: skip
    if len(groups) > len(NAMES):
        raise RunError(f'expected {len(NAMES)} runs at most beside each other, got {len(groups)}')
    return groups


def report(groups: Sequence[Group], metrics: Sequence[str] = (), markdown: bool = False) -> str:
    """Write a section for each group but the first, which the others are held against.

    Args:
        groups: Two or more.
        metrics: Columns to show; all where none is named.
        markdown: Whether tables are Markdown's, or lined up for a terminal.

    Raises:
        RunError: Nothing can be compared: no set, no metric or no image is in both; or metrics differ in their options.
    """
    parts, over_seeds = (['# Comparison\n'] if markdown else []), set[bool]()
    for name, group in zip(NAMES, groups):
        parts.append(f'- {name}: {_described(group)}{", the reference" if name == NAMES[0] else ""}')
    for name, group in zip(NAMES[1:], groups[1:]):
        pairs, remark = paired_runs(groups[0], group)
        over_seeds.add(len(pairs) > 1)
        found = _compare(pairs, metrics, name)
        heads = [head.format(NAMES[0], name) for head in HEADS]
        parts.append(f'\n## {name} against {NAMES[0]}\n')
        parts.append(table(heads, found.rows) if markdown else f'{columns([heads, *found.rows])}\n')
        parts += [f'{text}\n' for text in (remark, *found.remarks) if text]
    return '\n'.join([*parts, _meaning(over_seeds)])


def _compare(pairs: Pairs, metrics: Sequence[str], name: str) -> Compared:
    found, problems = Compared([], []), []
    runs = [run for pair in pairs for run in pair]
    every = list(dict.fromkeys(set_name for run in runs for set_name in run.sets))
    for set_name in every:
        missing = [str(run.folder) for run in runs if set_name not in run.sets]
        if missing:
            problems.append(f'{set_name} is left out: {missing[0]} has no figures of it.')
            continue
        _refuse_other_options(runs, set_name)
        for task in runs[0].sets[set_name].tasks:
            if all(task in run.sets[set_name].tasks for run in runs):
                _add_task(found, problems, pairs, (set_name, task), (metrics, name))
    if not found.rows:
        known = dict.fromkeys(metric for entry in runs[0].sets.values() for task in entry.tasks.values()
                              for metric in task.means)  # fmt: skip
        why = f'No task and metric is in both; {runs[0].folder} has {", ".join(known)}.'
        raise RunError('nothing can be compared. ' + (' '.join(problems) or why))
    found.remarks.extend(problems)
    return found


def _add_task(
    found: Compared, problems: list[str], pairs: Pairs, place: tuple[str, str], chosen: tuple[Sequence[str], str]
) -> None:
    """Add the rows of a task of a set: one for each metric that all have."""
    (set_name, task), (metrics, name) = place, chosen
    results = [[run.sets[set_name].tasks[task] for run in pair] for pair in pairs]
    sides = [side for pair in results for side in pair]
    label = set_name if not task or len(pairs[0][0].sets[set_name].tasks) == 1 else f'{set_name}, {task}'
    common = [key for key in sides[0].images
              if len({len(side.images.get(key, ())) for side in sides}) == 1]  # fmt: skip
    if not common:
        examples = ' and '.join(f"'{next(iter(side.images))}'" for side in sides[:2])
        problems.append(f'{label}: no image is in both; they are called {examples}, for instance.')
        return
    apart = len({key for side in sides for key in side.images}) - len(common)
    if apart:
        problems.append(f'{label}: left out, as they are not in all runs: {apart} of the images.')
    for metric in sides[0].means:
        if (metrics and metric not in metrics) or not all(metric in side.means for side in sides):
            continue
        options = pairs[0][0].sets[set_name].options.get(metric, {})
        result, infinite = _difference(results, common, metric)
        if infinite:
            problems.append(f'{label}: left out of {metric}, which is infinite where an image is equal to its target: '
                            f'{infinite} of the images.')  # fmt: skip
        if result is not None:
            found.rows.append([label, metric, *_cells(result, metric), statement(result, metric, name, options)])


def _difference(
    results: Sequence[Sequence[TaskResult]], common: Sequence[str], metric: str
) -> tuple[Difference | None, int]:
    """Compare the images that all have, or the figures of a whole set; the number tells infinite values left out."""
    sides = [side for pair in results for side in pair]
    lists = [[values for key in common for values in side.images[key]] for side in sides]
    if not all(metric in values for images in lists for values in images):
        means = [[[side.means[metric]] for side in pair] for pair in results]
        return difference([(first, second) for first, second in means], images=0), 0
    lines = list(zip(*([values[metric] for values in images] for images in lists)))
    finite = [line for line in lines if all(map(math.isfinite, line))]
    if not finite:
        return None, len(lines)
    by_side = list(zip(*finite))
    pairs = [(by_side[number], by_side[number + 1]) for number in range(0, len(by_side), 2)]
    return difference(pairs, len(finite)), len(lines) - len(finite)


def _cells(found: Difference, metric: str) -> list[str]:
    places = digits(metric)
    fine = digits(metric, found.margin)
    means = [f'{value:.{places}f}' for value in (found.first, found.second)]
    middle = f'{found.mean:+.{fine}f}'
    if found.spread is None or found.margin is None:
        return [str(found.images or NOTHING), *means, middle, NOTHING, NOTHING]
    ends = ' to '.join(f'{found.mean + sign * found.margin:+.{fine}f}' for sign in (-1, 1))
    return [str(found.images or NOTHING), *means, middle, f'{found.spread:.{fine}f}', ends]


def _refuse_other_options(runs: Sequence[RunResults], set_name: str) -> None:
    """Refuse metrics that were taken in another way, as far as the files say how.

    Raises:
        RunError: There is one.
    """
    known: dict[str, tuple[RunResults, object]] = {}
    for run in runs:
        for metric, options in run.sets[set_name].options.items():
            other, theirs = known.setdefault(metric, (run, options))
            if options != theirs:
                raise RunError(f'{set_name}: {metric} was taken by {theirs} in {other.folder} and by {options} in '
                               f'{run.folder}, which are not the same measure. Measure both with one val.metrics')


def _described(group: Group) -> str:
    """Name a group's runs and what of them was measured."""
    seeds = [str(run.seed) for run in group.runs if run.seed is not None]
    of = f' (seeds {", ".join(seeds)})' if len(seeds) > 1 else ''
    taken = dict.fromkeys(entry.iteration for run in group.runs for entry in run.sets.values())
    iterations = ', '.join(str(number) for number in taken if isinstance(number, int))
    return f'{group.name}{of}{f", at iteration {iterations}" if iterations else ""}'


def _meaning(over_seeds: set[bool]) -> str:
    """Say how the figures are to be read: those over several seeds, those over the images of one, or both."""
    several = ('With several seeds, SD and interval are those of the mean differences of the seeds, each over the same '
               'images: what counts is whether another training would show the same.')  # fmt: skip
    single = ('With one seed, SD and interval are those of the differences of images: they say what other images would '
              'show. One seed says nothing about another training.')  # fmt: skip
    lines = [*([several] if True in over_seeds else []), *([single] if False in over_seeds else [])]
    lines.append("±: half of the 95 % interval of the mean, by Student's t. Of many such statements about one in "
                 'twenty is wrong by chance.')  # fmt: skip
    return '\n'.join(lines)
