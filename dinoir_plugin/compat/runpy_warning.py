"""``python -m basicsr.train`` warns that ``basicsr.train`` was found in sys.modules before it ran.

It always is: ``basicsr/__init__.py`` star-imports it. The copy that runs and the imported copy do not share state, so
the warning (and its one per spawned worker) says nothing of use. Only this message for these two modules is silenced.
"""

from __future__ import annotations

import warnings

MESSAGE = r"'basicsr\.(train|test)' found in sys\.modules after import of package 'basicsr'"


def mend() -> bool:
    """Add the filter, once."""
    if any(getattr(entry[1], 'pattern', None) == MESSAGE for entry in warnings.filters):
        return False
    warnings.filterwarnings('ignore', message=MESSAGE, category=RuntimeWarning)
    return True
