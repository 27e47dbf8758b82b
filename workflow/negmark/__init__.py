"""The half of negmark that every method shares, and the methods, by one import name."""
