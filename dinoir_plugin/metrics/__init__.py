"""Metrics in the all-in-one papers' convention, beside BasicSR's own. Each file ends in ``_metric.py`` to register."""
