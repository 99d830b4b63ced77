"""Checks before a run starts: what is wrong in an options file is said now, not after hours."""
