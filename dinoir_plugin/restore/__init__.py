"""The practitioner's side: pictures in, better pictures out."""
