"""What the tests of `dinoir check` make, start and read."""

import os
import subprocess
import sys

import cv2

CLEAN, RAIN = 'clean', 'rain'


def write(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def table(out):
    """Part to (verdict, the rest of its line); a part with two rows has the last one."""
    verdicts = ('not checked', 'ok', 'warning', 'error')
    rows = {}
    for line in out.splitlines():
        part, _, rest = line.partition('  ')
        verdict = next((word for word in verdicts if rest.strip().startswith(word)), None)
        if verdict and part and not line.startswith(' '):
            rows[part] = verdict, rest.strip().removeprefix(verdict).strip()
    return rows


def process(folder, *arguments):
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-m', 'dinoir_plugin', *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
