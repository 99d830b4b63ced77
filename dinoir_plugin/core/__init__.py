"""Hold what every other room stands on: options and errors, files, ranks, console."""
