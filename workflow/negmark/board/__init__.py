"""Leaderboards, dataset cards and manifests: what people read."""
