"""Read two LMDBs of the same images, the first of them damaged: ``python -m dinoir_plugin.testing.read_all BAD WHOLE``.

Exit status 0 where every image of the first is the one of the second, or an error names the damaged folder.
"""

from __future__ import annotations

import sys

import numpy as np

from dinoir_plugin.core.console import say
from dinoir_plugin.data.sources import LmdbSource
from dinoir_plugin.data.task import Task


def main() -> int:
    """Compare the roots that the command line names."""
    damaged, whole = sys.argv[1:]
    try:
        source = LmdbSource(damaged, 'dataroot')
        decoded = [Task.decode(source, number) for number in range(len(source))]
    except (OSError, ValueError) as error:
        say(f'{type(error).__name__}: {error}')
        return int(damaged not in str(error))
    reference = LmdbSource(whole, 'dataroot')
    same = all(np.array_equal(image, Task.decode(reference, number)) for number, image in enumerate(decoded))
    say('all images are as they were' if same else 'a damaged image was taken for a whole one')
    return int(not same)


if __name__ == '__main__':
    sys.exit(main())
