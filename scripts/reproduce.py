"""The same as ``dinoir reproduce``: ``python scripts/reproduce.py run table3 --budget tiny``."""

import sys

from dinoir_plugin.cli import main

if __name__ == '__main__':
    sys.exit(main(['reproduce', *sys.argv[1:]]))
