"""Texts to tokens to vectors: pretrained encoders, their folders, and the embeddings that runs share."""
