"""Which differences are real: the statistics of methods, runs, claims and tuned settings."""
