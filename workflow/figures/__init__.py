"""The figures of a board: one module a figure, listed in `catalogue`, drawn with the means of `drawing`."""
