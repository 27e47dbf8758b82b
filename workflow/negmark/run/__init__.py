"""Around one call of snakemake: its start, repairs, terminal and what follows a failure."""
