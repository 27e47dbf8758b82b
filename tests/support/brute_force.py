"""What a search must find, by products of whole matrices."""

import numpy as np


def best(world, maps, query, depth):
    """The best unlabelled documents of a query by the given maps, from the vectors on disk."""
    documents = np.load(world.vectors / "documents.npy") @ maps["document"].numpy().T
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    order = np.argsort(-documents @ (maps["query"].numpy() @ np.load(world.vectors / "queries.npy")[query]))
    return [row for row in order.tolist() if (query, row) not in world.positives][:depth]
