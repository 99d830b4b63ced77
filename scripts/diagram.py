"""The diagrams of the methods: ``python scripts/diagram.py docs/dinoir.png``, others with ``--method daclip``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dinoir_plugin.experiments import daclip_diagram, method_diagram, perceive_ir_diagram

METHODS = {'dinoir': method_diagram.draw, 'daclip': daclip_diagram.draw, 'perceive_ir': perceive_ir_diagram.draw}


def main() -> None:
    """Write a diagram."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='the PNG')
    parser.add_argument('--method', choices=METHODS, default='dinoir', help='default: dinoir')
    arguments = parser.parse_args()
    METHODS[arguments.method](arguments.out)


if __name__ == '__main__':
    main()
