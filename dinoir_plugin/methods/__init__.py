"""Guidance methods, a folder each; none imports another."""
