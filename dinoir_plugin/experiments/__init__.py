"""The paper's tables and figures: what is run, how large, and what was published. ``dinoir reproduce`` runs it."""
