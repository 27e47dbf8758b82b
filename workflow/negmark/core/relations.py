"""The relations that a dataset may know between its documents."""

RELATIONS = ("ancestor", "sibling", "synonym")
