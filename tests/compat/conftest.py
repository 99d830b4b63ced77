"""A project of BasicSR's own in a folder of its own, and a source checkout to run it from."""

import dinoir_plugin  # noqa: F401 - arms the hook, also where the tests run without the plugin installed
from tests.foreign import checkout, installed, project  # noqa: F401 - fixtures
