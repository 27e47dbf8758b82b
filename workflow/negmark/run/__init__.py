"""Around one call of snakemake: its start, repairs, terminal output and what follows a failure."""
