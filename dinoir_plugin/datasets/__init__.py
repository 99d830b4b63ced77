"""From the releases of the literature's data sets to LMDB roots that training reads.

Nothing here imports torch or BasicSR: every worker process imports this package, and there is one for each core.
"""
