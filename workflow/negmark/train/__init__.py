"""The training loop that every method shares: its steps, budget, ledger, checkpoints and cost."""
