"""Trained models to runs, metrics, audits, learning curves and tuned settings."""
