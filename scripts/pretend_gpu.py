"""Run Python where a GPU is pretended, to see without one what goes wrong on a machine that has one.

    python scripts/pretend_gpu.py -m pytest -m gpu tests/models tests/methods tests/inference
    python scripts/pretend_gpu.py -m basicsr.train -opt options.yml

Shows whether tensors meet on one device, what the host waits for, and that a CUDA graph repeats what was recorded;
nothing of kernels and of speed (tests/pretend_gpu/device.py). Needs torch for CUDA on Linux and a C compiler. A process
with CUDA_VISIBLE_DEVICES= has no GPU here either.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / 'tests' / 'pretend_gpu' / 'cudart.c'
# read by each Python that starts below
START = """import os
if os.environ.get('CUDA_VISIBLE_DEVICES') != '':
    from tests.pretend_gpu.install import install
    install()
"""


def main(words: list[str]) -> int:
    """Run Python with these arguments."""
    if not words:
        sys.stderr.write(__doc__ or '')
        return 2
    with tempfile.TemporaryDirectory() as place:
        runtime, driver = Path(place, 'cudart.so'), Path(place, 'libcuda.so.1')
        for library in (runtime, driver):
            build = ['cc', '-shared', '-fPIC', '-w', f'-Wl,-soname,{library.name}', '-o', str(library), str(SOURCE)]
            subprocess.run(build, check=True)
        Path(place, 'sitecustomize.py').write_text(START)
        path = os.pathsep.join([place, str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
        env = {**os.environ, 'PYTHONPATH': path, 'LD_PRELOAD': str(runtime), 'LD_LIBRARY_PATH': place}
        return subprocess.run([sys.executable, *words], env=env, check=False).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
