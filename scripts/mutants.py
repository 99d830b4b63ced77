"""Measure what the tests notice: put small faults into the package, one at a time, and run the tests of the file.

A seeded sample is tried in a scratch copy. Each fault has a process of its own, forked from this one, which has the
libraries imported but nothing of the package. Killed is a fault at which a test fails or runs without end.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

HOME = Path(__file__).resolve().parents[1]
PACKAGE = 'dinoir_plugin'
TABLE, RESULT = HOME / 'scripts' / 'mutants.txt', HOME / 'benchmarks' / 'mutants.md'
LIBRARIES = ('torch', 'torchvision', 'timm', 'cv2', 'scipy.ndimage', 'skimage.metrics', 'lmdb', 'yaml', 'tifffile',
             'PIL.ImageCms', 'safetensors.torch', 'tqdm', 'requests', 'addict', 'pytest')
# what is said to people: neither the words nor what leads to them
SAYS = {'info', 'warning', 'error', 'debug', 'warn', 'say', 'note', 'print', 'set_description', 'getLogger'}
WORDS = {'help', 'metavar', 'description', 'desc', 'unit', 'frozen', 'slots', 'dynamic_ncols', 'stacklevel'}
PAIRS = ((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn),
         (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.And, ast.Or))  # fmt: skip
SWAPS: dict[type[ast.AST], Any] = {ast.FloorDiv: ast.Mult, **dict(PAIRS), **{b: a for a, b in PAIRS}}
NEGATED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
Change: TypeAlias = tuple[ast.expr | ast.stmt, str, str]


class Mutant(NamedTuple):
    """One fault: the bytes ``start`` to ``end`` of ``file`` become ``after``."""

    file: str
    line: int
    start: int
    end: int
    operator: str
    before: str
    after: str


def other_values(node: ast.AST) -> Iterator[Change]:
    """Give what may become of an operator or a constant."""
    text = ast.unparse
    match node:
        case ast.Compare(left, [op, *ops], others) if type(op) in SWAPS:
            yield node, 'comparison', text(ast.Compare(left, [SWAPS[type(op)](), *ops], others))
        case ast.BinOp(left, op, right) if type(op) in SWAPS and not (is_text(left) or is_text(right)):
            yield node, 'arithmetic', text(ast.BinOp(left, SWAPS[type(op)](), right))
        case ast.BoolOp(op, values):
            yield node, 'and/or', text(ast.BoolOp(SWAPS[type(op)](), values))
        case ast.UnaryOp(ast.Not(), operand):
            yield node, 'not', text(operand)
        case ast.Constant(bool() as value):
            yield node, 'constant', str(not value)
        case ast.Constant(int() | float() as value):
            yield node, 'constant', repr(value + (1 if node.col_offset % 2 else -1))


def omissions(node: ast.AST) -> Iterator[Change]:
    """Give what may become of a call, a statement or a condition."""
    text = ast.unparse
    match node:
        case ast.Call(called, arguments, words):
            for word in words:
                if word.arg and word.arg not in WORDS:
                    rest = [other for other in words if other is not word]
                    yield node, f'keyword {word.arg}', text(ast.Call(called, arguments, rest))
        case ast.Return(ast.expr() as value) if text(value) not in ('None', 'False'):
            yield value, 'return', 'None'
        case ast.Expr(ast.Call()):
            yield node, 'statement', 'pass'
        case ast.Break() | ast.Continue():
            yield node, 'loop', 'continue' if isinstance(node, ast.Break) else 'break'
        case ast.If(test) | ast.While(test) | ast.IfExp(test) if not is_reversed_already(test):
            yield test, 'condition', f'not ({text(test)})'


def is_reversed_already(test: ast.AST) -> bool:
    """Tell whether another change of a condition comes to its negation: a dropped ``not``, an ``==`` for a ``!=``."""
    return isinstance(test, ast.UnaryOp) or (isinstance(test, ast.Compare) and isinstance(test.ops[0], NEGATED))


def is_text(node: ast.AST) -> bool:
    """Tell whether an expression is plainly a string."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """Give what is below a node and may be changed: no messages, annotations, docstrings, types or ``__all__``."""
    for name, value in ast.iter_fields(node):
        if name not in ('annotation', 'returns', 'decorator_list'):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not is_idle(child):
                    yield child


def is_idle(node: ast.AST) -> bool:
    """Tell whether nothing below a node is to be changed."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
            return True
        case ast.Expr(value):
            return is_idle(value)
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name)):
            return name in SAYS or name.endswith(('Error', 'TypeVar'))
        case ast.If(test):
            return 'TYPE_CHECKING' in ast.unparse(test)
    return isinstance(node, ast.Assign) and '__all__' in map(ast.unparse, node.targets)


def mutants_of(path: Path) -> list[Mutant]:
    """List the faults that can be put into a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found, waiting = [], [ast.parse(source)]  # type: tuple[list[Mutant], list[ast.AST]]
    while waiting:
        node = waiting.pop()
        waiting.extend(parts(node))
        for place, operator, after in (*other_values(node), *omissions(node)):
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[(place.end_lineno or 0) - 1] + (place.end_col_offset or 0)
            before = ' '.join(source[start:end].decode().split())
            after = f'({after})' if isinstance(place, ast.expr) else after
            found.append(Mutant(str(path.relative_to(HOME)), place.lineno, start, end, operator, before, after))
    return sorted(found)


def read_table(kind: str) -> list[list[str]]:
    """Read the lines of a kind: ``tests`` (files, tests) or ``equivalent`` (file, operator, change, code, why)."""
    lines = [f'{line} '.split(' | ') for line in TABLE.read_text().splitlines()]
    return [[cell.strip() for cell in line[1:]] for line in lines if line[0].strip() == kind]


def tests_of(file: str, table: list[list[str]], home: Path = HOME) -> tuple[str, ...]:
    """Give the tests of a file: those of its own name first, then those of the first line that fits."""
    inside = Path(file).relative_to(PACKAGE)
    own = Path('tests', inside.parent, f'test_{inside.name}')
    more = next((tests.split() for files, tests in table if fnmatchcase(str(inside), files)), [])
    return tuple(dict.fromkeys([*([str(own)] if more and (home / own).exists() else []), *more]))


def is_equivalent(mutant: Mutant, table: list[list[str]]) -> bool:
    """Tell whether a line of the table says that a fault changes nothing that anybody could notice."""
    code = (HOME / mutant.file).read_text().splitlines()[mutant.line - 1]
    seen = (mutant.file.removeprefix(f'{PACKAGE}/'), mutant.operator, f'{mutant.before} -> {mutant.after}', code)
    return any(all(fnmatchcase(text, cell.replace('[', '[[]')) for text, cell in zip(seen, line)) for line in table)


def run_tests(copy: Path, tests: tuple[str, ...], limit: float) -> int | None:
    """Run tests in a copy, in a fork of this process; give the exit status, None when time is up."""
    until, child = time.monotonic() + limit, os.fork()
    if child == 0:
        status = 3
        try:
            os.setsid()
            log = os.open(copy / 'tests.log', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            for stream in (1, 2):
                os.dup2(log, stream)
            os.chdir(copy)
            os.environ.update(PYTHONPATH=str(copy), CUDA_VISIBLE_DEVICES='', DINOIR_PLUGIN_AUTOLOAD='1')
            sys.path[0] = str(copy)
            importlib.import_module(f'{PACKAGE}.plugin.autoload').arm()
            status = int(importlib.import_module('pytest').main(['-x', '-q', '-p', 'no:cacheprovider', *tests]))
        finally:
            os._exit(status)
    while time.monotonic() < until:
        done, state = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(state)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def copy_tree(copy: Path) -> None:
    """Copy what git does not ignore, compiled so that changed files are compiled anew, in memory only."""
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(command, cwd=HOME, check=True, capture_output=True, text=True).stdout
    for name in filter(lambda name: (HOME / name).is_file(), listed.split('\0')):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOME / name, copy / name)
    compile_all = [sys.executable, '-m', 'compileall', '-q', '--invalidation-mode', 'checked-hash']
    subprocess.run([*compile_all, copy], check=True)


def time_limit(copy: Path, tests: tuple[str, ...]) -> float:
    """Tell how long tests may take with a fault, in seconds; without one they have to pass, all together."""
    print(f'Without a fault: {" ".join(tests)}', flush=True)
    began = time.monotonic()
    if run_tests(copy, tests, 3600) != 0:
        raise SystemExit((copy / 'tests.log').read_text()[-3000:] + '\nThese fail without any fault.')
    return time.monotonic() - began + 30


def verdict_of(copy: Path, mutant: Mutant, tests: tuple[str, ...], limit: float) -> str:
    """Say what becomes of a fault: killed, timeout (killed, too) or survived."""
    place = copy / mutant.file
    source = place.read_bytes()
    try:
        place.write_bytes(source[: mutant.start] + mutant.after.encode() + source[mutant.end :])
        status = run_tests(copy, tests, limit)
    finally:
        place.write_bytes(source)
    return 'timeout' if status is None else 'killed' if status else 'survived'


def report(rows: list[tuple[Mutant, str]], title: str) -> str:
    """Put the result into words and a table."""
    counted = [verdict for _, verdict in rows if verdict != 'equivalent']
    killed = len(counted) - counted.count('survived')
    lines = [f'## {title}\n', f'{killed} of {len(counted)} killed ({killed / max(len(counted), 1):.1%}), '
             f'{len(rows) - len(counted)} others change nothing (`scripts/mutants.txt`).\n',
             '| file | line | operator | before | after | verdict |', '|---|---|---|---|---|---|']  # fmt: skip
    for mutant, verdict in sorted(rows):
        before, after = (text[:60].replace('|', '\\|').replace('`', "'") for text in (mutant.before, mutant.after))
        lines.append(f'| {mutant.file} | {mutant.line} | {mutant.operator} | `{before}` | `{after}` | {verdict} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Draw a sample, try it, and add the result to ``benchmarks/mutants.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--count', type=int, default=100, help='faults in the sample (default: 100)')
    parser.add_argument('--files', nargs='+', default=['*'], help="patterns below the package: 'core/*' nn/gating.py")
    parser.add_argument('--dry', action='store_true', help='add nothing to the report')
    args = parser.parse_args()
    if PACKAGE in sys.modules:
        raise SystemExit('Start it by scripts/mutants.sh: the package must not be imported here')
    table, equivalent = read_table('tests'), read_table('equivalent')
    names = {str(path.relative_to(HOME / PACKAGE)): path for path in sorted((HOME / PACKAGE).rglob('*.py'))}
    every = [mutant for name, path in names.items() if tests_of(f'{PACKAGE}/{name}', table)
             and any(fnmatchcase(name, pattern) for pattern in args.files) for mutant in mutants_of(path)]  # fmt: skip
    sample = random.Random(args.seed).sample(every, min(args.count, len(every)))
    git = subprocess.run(['git', 'describe', '--always', '--dirty'], cwd=HOME, capture_output=True, text=True)
    title = f'Commit {git.stdout.strip()}, seed {args.seed}, {len(sample)} of {len(every)} faults in {args.files}'
    # an interrupted run goes on from here
    state = Path(tempfile.gettempdir(), f'mutants_{git.stdout.strip()}_{args.seed}.jsonl')
    known = {tuple(mutant): verdict for mutant, verdict in map(json.loads, state.open())} if state.exists() else {}
    for library in LIBRARIES:
        importlib.import_module(library)
    # looked up at once: the tree may change meanwhile
    same = {mutant for mutant in sample if is_equivalent(mutant, equivalent)}
    rows: list[tuple[Mutant, str]] = []
    with tempfile.TemporaryDirectory() as folder, state.open('a', buffering=1) as keep:
        copy = Path(folder).resolve()
        copy_tree(copy)
        left = [mutant.file for mutant in sample if mutant not in known and mutant not in same]
        every_test = tuple(dict.fromkeys(test for file in left for test in tests_of(file, table, copy)))
        limit = time_limit(copy, every_test) if left else 0
        for mutant in sample:
            verdict = 'equivalent' if mutant in same else known.get(mutant)
            if verdict is None:
                verdict = verdict_of(copy, mutant, tests_of(mutant.file, table, copy), limit)
                keep.write(json.dumps([mutant, verdict]) + '\n')
            rows.append((mutant, verdict))
            print(f'{len(rows)}/{len(sample)} {verdict:10} {mutant.file}:{mutant.line} {mutant.operator}: '
                  f'{mutant.before[:50]} -> {mutant.after[:50]}', flush=True)  # fmt: skip
    text = report(rows, title)
    print(text.splitlines()[2])
    if not args.dry:
        RESULT.write_text((RESULT.read_text() if RESULT.exists() else '# Faults that the tests notice\n') + '\n' + text)


if __name__ == '__main__':
    main()
