"""BasicSR imports ``distutils``, which is gone since Python 3.12.

setuptools brings it back, by a line that Python's start-up runs where setuptools stands in an environment of its own.
Where it was put elsewhere (on ``PYTHONPATH``, or in a folder that a ``.pth`` file names) that line is not run, and
``import basicsr`` fails. Importing setuptools does the same.
"""

from __future__ import annotations

import importlib
import warnings


def mend() -> bool:
    """Bring ``distutils`` back; return False where it is there.

    Raises:
        ImportError: setuptools is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)  # of Python 3.10 and 3.11
            importlib.import_module('distutils')
    except ModuleNotFoundError:
        importlib.import_module('setuptools')
        return True
    return False
