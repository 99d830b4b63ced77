"""Guide restoration networks: the seams that every method fits into."""
