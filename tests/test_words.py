"""Docstrings say what a thing does, and the field's words are used."""

import ast
import re
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
PACKAGE = HOME / 'dinoir_plugin'
ROOMS = sorted(path.parent.name for path in PACKAGE.glob('*/__init__.py'))
# what no verb in the imperative begins with
NO_VERB = re.compile(r'(What|Where|Whether|Which|When|How|Who|That|This|The|An?|See)\b|\(|``')
WRITTEN = (
    'dinoir_plugin/**/*.py', 'dinoir_plugin/**/*.yml', 'options/**/*.yml', 'scripts/*.py', 'benchmarks/*.py', '*.md',
    'docs/*.md', 'datasets/*.md', 'benchmarks/*.md',
)  # fmt: skip


def public(node):
    """Gives all public functions, classes and methods but exceptions, which a noun may describe."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not child.name.startswith('_'):
            if not any(ast.unparse(base).endswith('Error') for base in getattr(child, 'bases', ())):
                yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


@pytest.mark.parametrize('room', ROOMS)
def test_docstrings_begin_with_a_verb(room):
    paths = sorted((PACKAGE / room).rglob('*.py'))
    assert paths
    wrong = [
        f'{path.relative_to(HOME)}:{node.lineno} {text.splitlines()[0]}'
        for path in paths
        for node in public(ast.parse(path.read_text(encoding='utf-8')))
        if NO_VERB.match(text := ast.get_docstring(node) or '')
    ]
    assert not wrong


def test_images_are_called_images():
    paths = [path for pattern in WRITTEN for path in HOME.glob(pattern)]
    assert len(paths) > 100
    assert not [str(path) for path in paths if 'picture' in path.read_text(encoding='utf-8').lower()]
