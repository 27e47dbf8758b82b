"""A dataset's card as text: the facts that both the Markdown file and the web page show."""

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from negmark.core import notation
from negmark.core.notation import plain
from negmark.search.scripts import ENGLISH, TITLES
from negmark.store.collection import SPLITS

Fact = tuple[str, str]
NAMES = {"bm25": "BM25", "dense": "dense", "given": "given"}
INDEXES = {"ivf": "IVF", "hnsw": "HNSW"}


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as a page of Markdown: a table with one fact per row."""
    rows = [(name, plain(text)) for name, text in [*origin(card), *counted(card)]]
    table = tabulate(rows, ["fact", "value"], tablefmt="github", disable_numparse=True)
    return f"# Dataset card: {plain(card['name'])}\n\n{table}\n"


def origin(card: Mapping[str, Any]) -> list[Fact]:
    """Return the facts about where a dataset comes from and how it was cut."""
    documents = f"{card['documents']:,}"
    if card["documents"] != card["documents_full"]:
        documents += f" of {card['documents_full']:,}"
    queries = ", ".join(f"{split} {card['queries'][split]:,}" for split in SPLITS if split in card["queries"])
    return [
        ("dataset", card["dataset"]),
        ("source", card["source"]),
        ("licence", card["licence"]),
        ("SHA-256 of the content", card["sha256"]),
        ("regime", card["regime"]),
        *(
            [("built here", f"by negmark: {card['built']}; no published figures")]
            if card.get("built")
            else []
        ),
        ("documents", documents),
        *_relations(card),
        ("queries", queries),
        *_mixed(card),
        *_test_split(card),
    ]


def _mixed(card: Mapping[str, Any]) -> list[Fact]:
    return [
        (
            f"{what} queries by source",
            ", ".join(f"{name} {count:,}" for name, count in card[key].items()),
        )
        for key, what in (("mixed", "training"), ("mixed_dev", "dev"))
        if key in card
    ]


def _relations(card: Mapping[str, Any]) -> list[Fact]:
    if "relations" not in card:
        return []
    counts = ", ".join(f"{name} {count:,}" for name, count in card["relations"].items())
    return [("pairs of related documents", counts)]


def _test_split(card: Mapping[str, Any]) -> list[Fact]:
    if "test_queries" not in card:
        return []
    drawn = f"{card['test_queries']:,} training queries, set aside by negmark"
    return [("test split", f"{drawn}: not a published split, no published figures")]


def counted(card: Mapping[str, Any]) -> list[Fact]:
    """Return the facts that the stage `card` has counted; empty if it hasn't run."""
    if "metric" not in card:
        return []
    facts = [("metric of record", card["metric"]), *_lengths(card)]
    if "labels_a_query" not in card:
        return facts
    return [
        *facts,
        *_labels(card),
        *_overlap(card),
        *_duplicates(card),
        ("self-ids", _self_ids(card["self_ids"])),
        *_own_texts(card),
        *_pools(card),
    ]


def _lengths(card: Mapping[str, Any]) -> list[Fact]:
    return [
        (
            f"tokens of {side}",
            f"mean {length['mean']:.1f}, min {length['min']:,}, median {length['p50']:,}, 90 %: {length['p90']:,}, "
            f"99 %: {length['p99']:,}, max {length['max']:,}; {100 * length['truncated']:.1f} % are cut at "
            f"{length['limit']:,}, {100 * length['unknown']:.1f} % of the tokens are unknown (tokenizer of "
            f"{card['tokenizer']})",
        )
        for side, length in card["lengths"].items()
    ]


def _labels(card: Mapping[str, Any]) -> list[Fact]:
    graded = "graded" if card["graded"] else "not graded"
    return [
        (
            f"{split} labels",
            f"{count['positives']:,} positives, {count['mean']:.1f} per query ({count['min']:,} to {count['max']:,}); "
            f"{graded}: "
            + ", ".join(f"{labels:,} of grade {grade}" for grade, labels in count["grades"].items()),
        )
        for split, count in card["labels_a_query"].items()
    ]


def _overlap(card: Mapping[str, Any]) -> list[Fact]:
    if "train" not in card["labels_a_query"]:
        return []
    text = (
        f"{card['seen_test_queries']:,} test queries share a relevant document with training (by its visible labels); "
        f"{card['unseen_test_queries']:,} don't"
    )
    hidden = hidden_words(card).removeprefix("; ")
    return [("seen and unseen", text), *([("known truth", hidden)] if hidden else [])]


def _duplicates(card: Mapping[str, Any]) -> list[Fact]:
    counts = card["copies"]
    within = ", ".join(f"{split} {count:,}" for split, count in counts["queries"].items())
    across = ", ".join(f"{pair} {count:,}" for pair, count in counts["queries_across"].items())
    facts = [
        ("duplicate documents", f"{counts['documents']:,}"),
        ("duplicate queries", within),
    ]
    if found := counts.get("of_positives"):
        pairs = notation.counted(found["pairs"], "pair with a training query", "pairs with a training query")
        use = "may be negatives" if card.get("copies_kept") else "kept out of the negatives"
        facts.append(
            (
                "copies of training positives",
                f"{notation.counted(found['documents'], 'document')}, {pairs}: {use}",
            )
        )
    if across:
        facts.append(("queries repeated across splits", across))
        facts.append(
            ("test queries seen only through duplicate documents", f"{counts['positives_across']:,}")
        )
    return facts


def _pools(card: Mapping[str, Any]) -> list[Fact]:
    return [fact for kind, pool in card.get("pools", {}).items() for fact in _pool(kind, pool)]


def _pool(kind: str, pool: Mapping[str, Any]) -> list[Fact]:
    """Return the facts of a pool: those of its index, its words, and how many queries it has nothing for."""
    facts = []
    if index := pool.get("index"):
        settings = ", ".join(f"{key} {value:,}" for key, value in index["settings"].items() if key != "kind")
        recalls = ", ".join(
            f"{100 * share:.1f} % of the top {depth}" for depth, share in index["recall"].items()
        )
        text = f"{recalls} of the exact search, over {index['queries']:,} training queries"
        facts.append((f"dense pool by {INDEXES[index['settings']['kind']]} ({settings})", text))
    if kind == "bm25":
        facts.append(("BM25 compares", TITLES[pool.get("analyzer", ENGLISH)]))
    if pool["without"]:
        queries = f"{pool['without']:,} of {pool['queries']:,} training queries"
        text = f"{queries} have no candidate: methods that choose from it give them no negative"
        facts.append((f"{NAMES[kind]} pool", text))
    return facts


def _self_ids(counts: Mapping[str, Any]) -> str:
    return f"{counts['policy']}; {counts['queries']:,} queries have one"


def _own_texts(card: Mapping[str, Any]) -> list[Fact]:
    if not (own := card.get("own_texts")):
        return []
    queries = notation.counted(own["queries"], "training query", "training queries")
    documents = notation.counted(own["documents"], "document")
    found = f"{documents} under the id or with the text of {queries}, not labelled as relevant"
    return [("queries in the corpus", f"{found}: kept out of the negatives")]


def hidden_words(card: Mapping[str, Any]) -> str:
    """Return what a dataset of known truth hides from training, after a semicolon; empty for any other."""
    if not (hidden := card.get("hidden")):
        return ""
    if hidden["how"] == "related":
        return (
            f"; training sees all {hidden['positives']:,} positives; {hidden['related_hidden']:,} unlabelled documents "
            f"({hidden['relation']} of a positive of {hidden['queries_with_hidden']:,} training queries) count as "
            "hidden from it: near-relevant, but no answers in evaluation"
        )
    rule = f"a random {hidden.get('share', 0):.0%} of each query's"
    if hidden["how"] == "pooled":
        rule = f"those in BM25's top {hidden['depth']:,}"
    left = hidden["queries_left_out"]
    dropped = (
        f"; {notation.counted(left, 'training query', 'training queries')} dropped (no visible positive)"
        if left
        else ""
    )
    return (
        f"; training sees {hidden['positives_kept']:,} positives ({rule}), "
        f"{hidden['positives_hidden']:,} are hidden{dropped}"
    )
