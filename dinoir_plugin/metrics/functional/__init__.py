"""Metrics as functions of arrays and tensors; what BasicSR finds by name stands in ``metrics/*_metric.py``."""
