"""Work that a run caused, in counts independent of the machine."""

from dataclasses import asdict, dataclass


@dataclass
class Counters:
    """Work that a run caused, in counts independent of the machine."""

    optimizer_steps: int = 0
    query_vectors: int = 0
    document_vectors: int = 0
    extra_vectors: int = 0
    """Vectors that the method asked for beside the batch and its negatives."""
    searches: int = 0
    """Queries searched over the whole corpus."""
    refreshes: int = 0
    """Times that the whole corpus was re-encoded."""
    teacher_vectors: int = 0
    """Vectors of another encoder that the method read."""
    pairs: int = 0
    """Pairs of the batch and its negatives that the trained cross-encoder scored."""
    network_forwards: int = 0
    """Pairs or vectors that went through networks of the method's own."""

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)
