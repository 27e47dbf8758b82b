"""The one table of tiers: what is trained, the modules behind it, and what a tier can do, the cheapest first.

A new tier is a module in `train/tiers/`, an entry here, and a section of settings under the same name in
`suite/settings.py`. A tier's modules are imported when a run is of that tier (`tier_modules`), so an edit of one
tier's files re-runs no other's, and a new tier none at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """What is trained, by which modules, and what the rest of the project may ask of it."""

    name: str
    says: str
    """What is trained, as a clause: `the whole encoder is trained`."""
    trained: str
    """The same as a noun, for a model card."""
    train: str
    """Module with `open_encoder(spec, materials)`, which returns a `train.tiers.protocol.TrainedEncoder`."""
    evaluate: str
    """Module with `trained_side(about, model, dataset, vectors, side, rows, threads)`, which gives the vectors [N, D]
    of a side, of which only `rows` count, or all; with `searcher(about, model, dataset, first, place, threads)` instead
    where the tier re-ranks what a searcher `first` finds."""
    section: str
    """Section of a suite that holds its budget."""
    trust: str
    """What its order of methods may be trusted for, as the study `tiers` shows; empty where it is the measure."""
    mark: str
    """Marker of its rows in figures, as matplotlib names it."""
    reads_texts: bool = True
    """Do its runs encode texts? Else they live on cached vectors alone, and ask for no GPU."""
    scores_pairs: bool = False
    """Does it score pairs of a query and a document? Then it has no vectors: for learning curves, STS, an export, or
    a method that needs some."""
    has_dropout: bool = True
    """Can dropout make two views of a sentence?"""
    starts_from_table: bool = False
    """Is its start a token table (`encoder.table`) and no transformer? Then all rows of its suites are of this tier."""
    has_tokens: bool = False
    """Can the vectors of tokens be moved before they become that of a text? Methods with `needs_tokens` need it."""
    has_texts: bool = False
    """Can it encode texts that are in no corpus, with gradient? Methods with `needs_auxiliary` need it."""
    score: str = "cosine similarity"
    """What its scores are, in figures."""


TIERS = {
    tier.name: tier
    for tier in (
        Tier(
            "adapter",
            "linear maps on the vectors of a frozen encoder are trained",
            "one linear map for each side, behind the frozen encoder",
            "negmark.train.tiers.adapter",
            "negmark.train.tiers.adapter_maps",
            "training",
            "On WordNet its order of twelve methods agrees in the main with that of the finetune tier, but it makes "
            "the very hardest negatives (dense top-k) look far worse than they are there.",
            "d",
            reads_texts=False,
            has_dropout=False,
        ),
        Tier(
            "static",
            "a whole encoder is trained: a row for each token, of which a text's vector is the mean",
            "a token table, of which a text's vector is the mean",
            "negmark.train.tiers.static",
            "negmark.train.tiers.static_rows",
            "static",
            "On WordNet its order of twelve methods agrees in the main with that of the finetune tier, but it makes "
            "the very hardest negatives (dense top-k) look better than they are there.",
            "o",
            has_dropout=False,
            starts_from_table=True,
            has_tokens=True,
            has_texts=True,
        ),
        Tier(
            "finetune",
            "the whole encoder is trained",
            "the whole encoder",
            "negmark.train.tiers.finetune",
            "negmark.train.tiers.finetune",
            "finetune",
            "",
            "s",
            has_tokens=True,
            has_texts=True,
        ),
        Tier(
            "rerank",
            "a cross-encoder is trained, which re-ranks the top of a first stage",
            "a cross-encoder",
            "negmark.train.tiers.rerank",
            "negmark.train.tiers.rerank",
            "rerank",
            "",
            "^",
            scores_pairs=True,
            has_dropout=False,
            score="logit of the cross-encoder",
        ),
    )
}
"""By name, in the order in which they stand on a board."""
DEFAULT = "adapter"
TRACKS = {"controlled": "only the negatives are the method's", "faithful": "the paper's own recipe"}
"""What a method may bring: rows of two tracks are never ranked together."""
CURVE = "negmark.evaluate.dev_curve"
"""Module with `Curve(dataset, training)`, which evaluates runs on the dev split while they train."""


def with_properties(**properties: bool) -> list[str]:
    """Return the names of the tiers with these properties: `with_properties(scores_pairs=False)`."""
    return [name for name, tier in TIERS.items() if all(getattr(tier, k) == v for k, v in properties.items())]


def in_order(tiers: Sequence[str]) -> list[str]:
    """Return tiers once each, the cheapest first; unknown ones come last, by name."""
    known = list(TIERS)
    return sorted(set(tiers), key=lambda tier: (known.index(tier) if tier in known else len(known), tier))
