"""The same as ``python -m dinoir_plugin.experiments.quickstart``: ``python scripts/quickstart.py prepare``."""

import sys

from dinoir_plugin.experiments.quickstart import main

if __name__ == '__main__':
    sys.exit(main())
