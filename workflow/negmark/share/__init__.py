"""Weights & Biases, and models in the sentence-transformers format."""
