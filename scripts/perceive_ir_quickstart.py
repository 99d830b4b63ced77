"""The same as ``python -m dinoir_plugin.experiments.perceive_ir_quickstart``."""

import sys

from dinoir_plugin.experiments.perceive_ir_quickstart import main

if __name__ == '__main__':
    sys.exit(main())
