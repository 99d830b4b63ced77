"""The diagram of DINO-IR: ``python scripts/diagram.py docs/dinoir.png``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dinoir_plugin.experiments.method_diagram import draw


def main() -> None:
    """Write the diagram."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='the PNG')
    draw(parser.parse_args().out)


if __name__ == '__main__':
    main()
