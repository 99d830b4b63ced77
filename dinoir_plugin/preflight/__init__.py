"""Checks before a run starts: what is wrong in an options file is said now, not after hours."""

from dinoir_plugin.preflight.builds import check_builds
from dinoir_plugin.preflight.schema import check_schema

__all__ = ['check_builds', 'check_schema']
