"""Layers in pure torch: nothing here imports basicsr."""
