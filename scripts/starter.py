"""The small model that comes with the package: its images, its training, its figures and its card.

    python scripts/starter.py pack ../shared/data      the training images into datasets/starter/
    python scripts/starter.py train                    in pieces of 8 minutes, by the files in options/starter/
    python scripts/starter.py finish ../shared/data    the model into the package, benchmarks/starter.md, its card

Each goes on from what is there; the first two are ``python -m dinoir_plugin.experiments.starter``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for benchmarks/

from benchmarks.starter_card import finish
from dinoir_plugin.experiments.starter import main

if __name__ == '__main__':
    sys.exit(finish(sys.argv[2:]) if sys.argv[1:2] == ['finish'] else main())
