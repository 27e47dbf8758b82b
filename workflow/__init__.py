"""The half of negbench that every method shares: data, encoding, candidates, training, evaluation, boards."""
