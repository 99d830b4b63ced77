"""The version of the package, which checkpoints and reports name."""

__version__ = '0.1.0'
