"""Building blocks in pure torch: nothing in this package imports basicsr."""
