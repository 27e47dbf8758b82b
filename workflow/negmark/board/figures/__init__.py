"""The figures of a board: one module each, drawn with the means of `drawing`."""
