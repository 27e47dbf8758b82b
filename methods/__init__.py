"""What negmark compares: one file per way of choosing, weighting or making negatives.

A method answers four questions: where do candidates come from, which of them are chosen, how do they enter
the loss, and which loss is it? It gets a batch and services, and returns negatives; it never loads data, opens
a file or knows the workflow. `base.py` is the contract, `losses.py` and `sampling.py` the shared
mathematics, `registry.py` finds methods by name. Every other file here is a method.
"""
