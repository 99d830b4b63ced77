"""Frozen foundation models as feature encoders."""

from dinoir_plugin.encoders.encoder import Encoder

__all__ = ['Encoder']
