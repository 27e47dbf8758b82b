"""A dataset's card in words: the facts that the Markdown file and the web page both show."""

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from negmark.core import notation
from negmark.core.notation import plain
from negmark.store.collection import SPLITS

Fact = tuple[str, str]
INDEXES = {"ivf": "IVF", "hnsw": "HNSW"}


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as a page of Markdown: a table of facts, each a line."""
    rows = [(name, plain(text)) for name, text in [*origin(card), *counted(card)]]
    table = tabulate(rows, ["fact", "value"], tablefmt="github", disable_numparse=True)
    return f"# Dataset card: {plain(card['name'])}\n\n{table}\n"


def origin(card: Mapping[str, Any]) -> list[Fact]:
    """Return where a dataset comes from and how it was cut."""
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
            [("built here", f"by negmark: {card['built']}; without published figures")]
            if card.get("built")
            else []
        ),
        ("documents", documents),
        *_relations(card),
        ("queries", queries),
        *_test_split(card),
    ]


def _relations(card: Mapping[str, Any]) -> list[Fact]:
    if "relations" not in card:
        return []
    told = ", ".join(f"{count:,} of {name}s" for name, count in card["relations"].items())
    return [("pairs of related documents", told)]


def _test_split(card: Mapping[str, Any]) -> list[Fact]:
    if "test_queries" not in card:
        return []
    drawn = f"{card['test_queries']:,} training queries, set aside by negmark"
    return [("test split", f"{drawn}: no published split, without published figures")]


def counted(card: Mapping[str, Any]) -> list[Fact]:
    """Return what the stage `card` has counted; nothing where it hasn't been."""
    if "metric" not in card:
        return []
    facts = [("metric of record", card["metric"]), *_lengths(card)]
    if "labels_a_query" not in card:
        return facts
    return [
        *facts,
        *_labels(card),
        *_overlap(card),
        *_copies(card),
        ("self-ids", _self_ids(card["self_ids"])),
        *_index(card),
    ]


def _lengths(card: Mapping[str, Any]) -> list[Fact]:
    return [
        (
            f"tokens of {side}",
            f"mean {found['mean']:.1f}, min {found['min']:,}, median {found['p50']:,}, 90 %: {found['p90']:,}, "
            f"99 %: {found['p99']:,}, max {found['max']:,}; {100 * found['truncated']:.1f} % are cut at "
            f"{found['limit']:,} (tokenizer of {card['tokenizer']})",
        )
        for side, found in card["lengths"].items()
    ]


def _labels(card: Mapping[str, Any]) -> list[Fact]:
    graded = "graded" if card["graded"] else "not graded"
    return [
        (
            f"{split} labels",
            f"{found['positives']:,} positives, {found['mean']:.1f} a query ({found['min']:,} to {found['max']:,}); "
            f"{graded}: "
            + ", ".join(f"{count:,} of grade {grade}" for grade, count in found["grades"].items()),
        )
        for split, found in card["labels_a_query"].items()
    ]


def _overlap(card: Mapping[str, Any]) -> list[Fact]:
    if "train" not in card["labels_a_query"]:
        return []
    text = (
        f"{card['seen_test_queries']:,} test queries share a relevant document with training, by the labels that "
        f"training sees; {card['unseen_test_queries']:,} don't"
    )
    hidden = hidden_words(card).removeprefix("; ")
    return [("seen and unseen", text), *([("known truth", hidden)] if hidden else [])]


def _copies(card: Mapping[str, Any]) -> list[Fact]:
    found = card["copies"]
    within = ", ".join(f"{split} {count:,}" for split, count in found["queries"].items())
    across = ", ".join(f"{pair} {count:,}" for pair, count in found["queries_across"].items())
    facts = [
        ("documents whose text stood before", f"{found['documents']:,}"),
        ("queries whose text stood before", within),
    ]
    if across:
        facts.append(("queries whose text another split has", across))
        facts.append(("test queries seen by text, not by id", f"{found['positives_across']:,}"))
    return facts


def _index(card: Mapping[str, Any]) -> list[Fact]:
    if not (found := card.get("index")):
        return []
    made = ", ".join(f"{key} {value:,}" for key, value in found["settings"].items() if key != "kind")
    recalls = ", ".join(
        f"{100 * share:.1f} % of the best {depth}" for depth, share in found["recall"].items()
    )
    told = f"{recalls} that the exact search finds, over {found['queries']:,} training queries"
    return [(f"dense pool by {INDEXES[found['settings']['kind']]} ({made})", told)]


def _self_ids(found: Mapping[str, Any]) -> str:
    return f"{found['policy']}; {found['queries']:,} queries have one"


def hidden_words(card: Mapping[str, Any]) -> str:
    """Say what a dataset of known truth hides from training, behind a semicolon; nothing of any other."""
    if not (hidden := card.get("hidden")):
        return ""
    rule = f"a random {hidden.get('share', 0):.0%} of each query's"
    if hidden["how"] == "pooled":
        rule = f"those in BM25's top {hidden['depth']:,}"
    left = hidden["queries_left_out"]
    gone = (
        f"; {notation.counted(left, 'training query', 'training queries')} without any left out"
        if left
        else ""
    )
    return (
        f"; training sees {hidden['positives_kept']:,} positives ({rule}), "
        f"{hidden['positives_hidden']:,} are hidden{gone}"
    )
