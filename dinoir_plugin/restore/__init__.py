"""The practitioner's side: images in, better images out."""
