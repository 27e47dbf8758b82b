"""Trained models to runs, metrics, audits and learning curves; the trials of tuning."""
