"""What ``scripts/benchmark.py`` measures; a module writes the table of its name."""
