"""Which rows a claim may compare: those that differ by what it is about, and by nothing else.

Both are of one dataset, tier and track and have the same `conditions` in their metrics.json: loss, steps and training
queries (with those of the rows that they start from), negatives a query and of the batch, temperature, who else puts
their batches together, the teacher that they ask, and as they were before tuning the learning rate and the depth of the
pool. The tier trains what the claim is about, bi-encoders or cross-encoders, in batches as large as the claim needs.
Where no two rows are alike, the claim can't be tested, and `obstacle` says what stands in its way.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from negmark.core.files import canonical
from negmark.core.names import SHARED_LOSS
from negmark.core.notation import listed
from negmark.core.tiers import TIERS, TRACKS, in_order
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.methods.types import Claim, Gives, Lends
from negmark.store.query_scores import QueryScores

LOSS, NEGATIVES, DEPTH, COMPOSER, TEACHER = "loss", "negatives", "depth", "composer", "teacher"
OF_METHODS = frozenset({LOSS, DEPTH, COMPOSER, TEACHER})
"""Conditions in which methods differ by what they are; the others are the budget."""
LENGTH = frozenset({"steps", "training_queries"})
WORDS = {
    DEPTH: "candidates to draw from",
    "steps": "steps, with those of what it starts from",
    "training_queries": "training queries over all its steps",
    NEGATIVES: "negatives a query",
    "in_batch": "documents of the batch as negatives",
    "temperature": "as temperature",
    "learning_rate": "as learning rate",
    COMPOSER: "as composer of batches",
    TEACHER: "as teacher",
}
"""The conditions besides the loss, as they stand behind a value."""

About = Mapping[str, Any]
"""What the metrics.json of a row says of it."""


class Pair(NamedTuple):
    """Two rows of a dataset that a claim compares by a metric."""

    dataset: str
    slice: str
    tier: str
    track: str
    better_row: str
    worse_row: str
    metric: str


def pairs(claim: Claim, scores: Mapping[str, QueryScores]) -> Iterator[Pair]:
    """Yield the pairs of rows that test a claim: like with like, dataset by dataset, tier by tier, track by track."""
    for dataset, table in scores.items():
        rows = {name: row.about for name, row in table.rows.items() if claim.metric in row.scores}
        for tier in _tiers(claim, rows):
            for track in TRACKS:
                for better, worse in _candidates(claim, rows, tier):
                    alike = not _unlike(claim, rows[better], rows[worse])
                    if rows[better]["track"] == track and alike and not _misfit(claim, better, table):
                        yield Pair(dataset, table.ranking(), tier, track, better, worse, claim.metric)


def unlike(one: About, other: About, free: Collection[str] = ()) -> list[str]:
    """Return in what two rows of a tier differ besides their methods: `track` or keys of their conditions.

    A row without a depth draws from no pool or takes its very top, which is what it is. `free` are conditions in which
    they may differ.
    """
    mine, theirs = one["conditions"], other["conditions"]
    if None in (mine.get(DEPTH), theirs.get(DEPTH)):
        free = {*free, DEPTH}
    differing = [
        key for key in dict.fromkeys([*mine, *theirs]) if mine.get(key) != theirs.get(key) and key not in free
    ]
    return [*(["track"] if one["track"] != other["track"] else []), *differing]


def of_another_budget(rows: Mapping[str, About]) -> set[str]:
    """Return the rows that were trained otherwise than most in their tier and track: for more steps, by another rate.

    Rows of the faithful track are whole recipes, each with its own temperature or rate; what they share is how long
    they train.
    """
    budgets: dict[tuple[str, str], dict[str, str]] = {}
    for name, about in rows.items():
        if (track := about["track"]) in TRACKS:
            shared = LENGTH if track == "faithful" else about["conditions"].keys() - OF_METHODS
            kept = {key: value for key, value in about["conditions"].items() if key in shared}
            budgets.setdefault((about["tier"], track), {})[name] = canonical(kept)
    usual = {ranking: Counter(found.values()).most_common(1)[0][0] for ranking, found in budgets.items()}
    return {
        name for ranking, found in budgets.items() for name, one in found.items() if one != usual[ranking]
    }


def _unlike(claim: Claim, better: About, worse: About) -> list[str]:
    """Return in what two rows differ that is no part of what a claim is about."""
    under = worse["conditions"][LOSS]
    own_loss = claim.from_worse or (claim.own_loss and under == SHARED_LOSS)
    over_its_own = (
        claim.from_worse and better["track"] == "faithful"
    )  # a recipe's loss reads a list of its own
    parts = {
        DEPTH: claim.own_depth,
        TEACHER: claim.own_teacher,
        LOSS: own_loss,
        NEGATIVES: over_its_own,
    }
    found = unlike(better, worse, [key for key, own in parts.items() if own])
    # under the loss that is claimed nothing but the draws would differ
    lent = claim.own_loss and better["conditions"][LOSS] == under != SHARED_LOSS
    return [LOSS, *found] if lent else found


def _misfit(claim: Claim, better: str, table: QueryScores) -> str:
    """Say why a row isn't what a claim is about: its batches are too small, or it starts elsewhere; empty if it is."""
    if claim.from_worse and claim.worse not in table.started(better):
        return (
            f"it is about {claim.better} started from the trained model of {claim.worse}, and {better} isn't"
        )
    if (batch := _batch(table.rows[better].about)) < claim.batch:
        return (
            f"it is about batches of {claim.batch:,} queries or more, whose documents are negatives, and {better} has "
            f"{batch:,}"
        )
    return ""


def obstacle(claim: Claim, scores: Mapping[str, QueryScores]) -> str:
    """Say why no two rows test a claim: no row or metric, no tier in common, or what the nearest two differ in."""
    rows = [row for table in scores.values() for row in table.rows.values()]
    methods = {row.about["method"] for row in rows}
    if missing := [name for name in (claim.better, claim.worse) if name not in methods]:
        return f"this suite has no row of {' and none of '.join(missing)}"
    if not any(claim.metric in row.scores for row in rows):
        return f"no dataset of this suite is judged by {claim.metric}"
    if not any(
        _tiers(claim, {name: row.about for name, row in table.rows.items()}) for table in scores.values()
    ):
        return f"it is about {'cross-encoders' if claim.of_rankers else 'bi-encoders'}, and this suite trains none"
    found = [
        (
            _unlike(claim, abouts[better], abouts[worse]),
            _misfit(claim, better, table),
            (better, abouts[better]),
            (worse, abouts[worse]),
        )
        for table in scores.values()
        for abouts in [{name: row.about for name, row in table.rows.items() if claim.metric in row.scores}]
        for tier in _tiers(claim, abouts)
        for better, worse in _candidates(claim, abouts, tier)
    ]
    if not found:
        return f"no tier has a row of both {claim.better} and {claim.worse}"
    keys, misfit, one, other = min(found, key=lambda entry: (bool(entry[1]), len(entry[0])))
    return misfit or _difference(claim, keys, one, other)


def _tiers(claim: Claim, rows: Mapping[str, About]) -> list[str]:
    """Return the tiers of rows that train what a claim is about, the cheapest first."""
    tiers = in_order([about["tier"] for about in rows.values() if about["tier"] in TIERS])
    return [tier for tier in tiers if TIERS[tier].scores_pairs == claim.of_rankers]


def _candidates(claim: Claim, rows: Mapping[str, About], tier: str) -> Iterator[tuple[str, str]]:
    """Yield the names of all rows of the better and the worse method in a tier, alike or not."""
    of = {
        method: [name for name, about in rows.items() if (about["method"], about["tier"]) == (method, tier)]
        for method in (claim.better, claim.worse)
    }
    yield from ((better, worse) for better in of[claim.better] for worse in of[claim.worse])


def _batch(about: About) -> int:
    """Return the queries of a row's batches, their mean where the rows that it starts from have others."""
    return round(about["conditions"]["training_queries"] / about["conditions"]["steps"])


def _difference(claim: Claim, keys: list[str], better: tuple[str, About], worse: tuple[str, About]) -> str:
    """Say in what two rows differ, and which row would do where it is the loss: what else differs follows from it.

    None would where the loss is what is claimed.
    """
    (one, first), (other, second) = better, worse
    if LOSS in keys:
        mine, theirs = (_loss(*row) for row in (better, worse))
        remedy = "" if claim.own_loss else _remedy(better, worse)
        return f"{one} has {mine}, {other} {theirs}{remedy}"
    if keys == ["track"]:
        return f"{one} is in the {first['track']} track, {other} in the {second['track']} one"
    parts = [
        f"{one} has {_value(first['conditions'].get(key))} {WORDS[key]}, {other} "
        f"{_value(second['conditions'].get(key))}"
        for key in keys
        if key in WORDS
    ]
    return listed(parts)


def _loss(name: str, about: About) -> str:
    loss = about["conditions"][LOSS]
    return "a loss of its own" if loss == name else f"the loss {loss}"


def _remedy(better: tuple[str, About], worse: tuple[str, About]) -> str:
    """Name the row that would make two losses one, if a method lends its own; empty if none does."""
    for (lender, one), (_, other) in ((better, worse), (worse, better)):
        kinds = [registry.available().get(about["method"]) for about in (one, other)]
        mine, theirs = kinds
        if not (mine and theirs) or one["conditions"][LOSS] != lender or theirs.faithful:
            continue
        enough = mine.lends_loss is Lends.TO_ALL or _gives_documents(theirs, other)
        if one["track"] == "faithful" and mine.lends_loss is not Lends.NOT and enough:
            return f"; a row `{{method: {other['method']}, loss: {lender}}}` would test it"
    return ""


def _gives_documents(method: type[Method], about: About) -> bool:
    """Say whether a row of a method would give documents under another's loss, with the parameters that it has."""
    own = {key: value for key, value in about.get("params", {}).items() if key in method.Params.model_fields}
    return method.gives(method.Params.model_validate(own), "faithful") is Gives.DOCUMENTS


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "all" if value else "no"
    if value is None or isinstance(value, str):
        return value or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
