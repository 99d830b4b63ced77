"""From the releases of the literature's data sets to LMDB roots that training reads.

Nothing but ``own`` imports torch or BasicSR: every worker process imports the rest, and there is one for each core.
"""
