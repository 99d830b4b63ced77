"""Losses that belong to no method. Modules whose names end as BasicSR's own do are imported when BasicSR is."""

# BasicSR first: its import sets off the hook that imports this folder's modules, and that has to be over before
# the body of any of them runs on its own account.
import basicsr  # noqa: F401
