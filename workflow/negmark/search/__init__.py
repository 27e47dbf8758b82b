"""Neighbours: BM25 and dense indexes, and the candidate pools of all training queries."""
