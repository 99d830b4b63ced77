"""The same as ``python -m dinoir_plugin.experiments.starter``: ``python scripts/starter.py pack FOLDER``."""

import sys

from dinoir_plugin.experiments.starter import main

if __name__ == '__main__':
    sys.exit(main())
