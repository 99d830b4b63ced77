"""Textbook forms and helpers that tests and benchmarks share."""
