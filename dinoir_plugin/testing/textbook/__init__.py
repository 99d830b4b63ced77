"""Networks and losses as their papers' equations are written, to hold ours against."""
