"""What is on disk between the stages, and how it is read: datasets, vectors, pools, ledgers, runs, boards."""
