"""Runs ``python -m dinoir_plugin``."""

import sys

from dinoir_plugin.cli import main

if __name__ == '__main__':
    sys.exit(main())
