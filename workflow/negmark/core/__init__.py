"""The ground: files, locks, errors, seeds, names and the frame of a stage. Imports nothing else of the project."""
