"""Hooks as a run of the plugin finds them, and as it must leave them."""

import pytest

from dinoir_plugin.plugin import hooks
from tests.foreign import checkout, installed, project  # noqa: F401 - fixtures


@pytest.fixture
def our_run():
    """Have the hooks in place, as in a run of the plugin."""
    hooks.set_up({}, ours=True)


@pytest.fixture(autouse=True)
def without_hooks():
    """Leave BasicSR to the next test as it is outside of the plugin's runs."""
    yield
    hooks.set_up({}, ours=False)


@pytest.fixture
def of_a_user():
    """Register a user's class for as long as a test runs."""
    names = []

    def register(registry, kind):
        registry.register(kind)
        names.append((registry, kind.__name__))

    yield register
    for registry, name in names:
        del registry._obj_map[name]
