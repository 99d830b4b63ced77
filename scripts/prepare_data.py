"""The same as ``dinoir prepare``: ``python scripts/prepare_data.py rain100l RainTrainL.zip Rain100L.zip``."""

import sys

from dinoir_plugin.cli import main

if __name__ == '__main__':
    sys.exit(main(['prepare', *sys.argv[1:]]))
