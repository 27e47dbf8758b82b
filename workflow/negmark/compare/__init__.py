"""Which differences are real: the statistics of methods, runs and claims."""
