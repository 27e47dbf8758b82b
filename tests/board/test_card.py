"""A dataset's card against a collection counted by hand."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import tiny_model
from negmark.board import card
from negmark.board.card_text import counted, markdown
from negmark.data import prepare
from negmark.encode import lengths
from negmark.encode.lengths import token_counts
from negmark.encode.model_files import open_tokenizer

REAL = os.environ.get("NEGMARK_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="NEGMARK_DATA names no folder of datasets")

DOCUMENTS = ["ab", "cde", "ab", "q", "f" * 40, "cde"]
QUERIES = ["a", "bb", "a", "a", "ccc", "zzzz"]
QRELS = {
    "train": [(0, 0, 1), (0, 4, 2), (1, 3, 0), (1, 1, 1), (2, 3, 1)],
    "test": [(3, 2, 1), (4, 5, 2), (4, 0, 0), (5, 3, 1), (5, 4, 1)],
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tokenizer of single letters, with two special tokens a text."""
    model = tiny_model(tmp_path_factory.mktemp("model") / "letters")
    return {
        "model": str(model), "query_length": 4, "document_length": 5, "query_prompt": "", "document_prompt": "x ",
    }  # fmt: skip


def dataset(folder: Path, **more: Any) -> Path:
    made = prepare.Collection(
        ["q3", *(f"d{row}" for row in range(1, 6))],
        [""] * 6,
        DOCUMENTS,
        [f"q{row}" for row in range(6)],
        QUERIES,
        {split: np.array(rows, dtype=np.int64) for split, rows in QRELS.items()},
    )
    prepare.write(made, folder)
    told = {
        "name": "made", "dataset": "made", "source": "own folder made", "licence": "as its | owner states",
        "sha256": "0" * 64, "regime": "standard", "documents": 6, "documents_full": 6, "graded": True,
        "queries": {"train": 3, "dev": 0, "test": 3}, "seen_test_queries": 1, "unseen_test_queries": 2, **more,
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def made(tmp_path: Path, encoder: dict[str, Any]) -> dict[str, Any]:
    return card.describe(dataset(tmp_path / "made"), encoder)


def test_labels_a_query(made: dict[str, Any]) -> None:
    assert made["labels_a_query"] == {
        "train": {"positives": 4, "mean": pytest.approx(4 / 3), "min": 1, "max": 2, "grades": {"0": 1, "1": 3, "2": 1}},
        "test": {"positives": 4, "mean": pytest.approx(4 / 3), "min": 1, "max": 2, "grades": {"0": 1, "1": 3, "2": 1}},
    }  # fmt: skip


def test_lengths_are_counted_before_anything_is_cut(made: dict[str, Any]) -> None:
    """Letters + two special tokens; documents have a prompt of one letter. The model itself reads but 32 tokens."""
    queries, documents = made["lengths"]["queries"], made["lengths"]["documents"]
    assert (queries["min"], queries["p50"], queries["max"], queries["limit"]) == (3, 4, 6, 4)
    assert queries["mean"] == pytest.approx(sum(len(text) + 2 for text in QUERIES) / 6)
    assert queries["truncated"] == pytest.approx(
        2 / 6
    )  # ccc and zzzz; bb has four tokens, which all are read
    assert documents["max"] == 43
    assert documents["truncated"] == pytest.approx(3 / 6)  # both cde and the long one have more than five


def test_copies_within_and_across_splits(made: dict[str, Any]) -> None:
    found = made["copies"]
    assert found["documents"] == 2
    assert found["queries"] == {"train": 1, "test": 0}
    assert found["queries_across"] == {"train-test": 1}
    # by id 5 alone is seen (d3, d4); 3 finds a copy of q3's text and 4 one of d1's
    assert found["positives_across"] == 2


def test_queries_that_stand_in_the_corpus(made: dict[str, Any]) -> None:
    assert made["self_ids"]["queries"] == 1


def test_a_card_in_words(made: dict[str, Any]) -> None:
    text = markdown(made)
    facts = dict(counted(made))
    grades = "1 of grade 0, 3 of grade 1, 1 of grade 2"
    assert facts["train labels"] == f"4 positives, 1.3 per query (1 to 2); graded: {grades}"
    assert "33.3 % are cut at 4" in facts["tokens of queries"]
    assert facts["metric of record"] == "nDCG@10"
    assert (facts["duplicate documents"], facts["duplicate queries"]) == ("2", "train 1, test 0")
    assert facts["queries repeated across splits"] == "train-test 1"
    assert facts["test queries seen only through duplicate documents"] == "2"
    assert r"as its \| owner states" in text, "a cell can't end early"
    assert text.count("\n| ") == len(facts) + 8  # the head, seven facts of the origin


def test_hidden_labels_stand_on_the_card(tmp_path: Path, encoder: dict[str, Any]) -> None:
    hidden = {"how": "pooled", "depth": 10, "positives_kept": 4, "positives_hidden": 9, "queries_left_out": 1}
    facts = dict(counted(card.describe(dataset(tmp_path / "made", hidden=hidden), encoder)))
    assert facts["known truth"] == (
        "training sees 4 positives (those in BM25's top 10), 9 are hidden; "
        "1 training query dropped (no visible positive)"
    )


def test_hidden_relatives_stand_on_the_card(tmp_path: Path, encoder: dict[str, Any]) -> None:
    hidden = {
        "how": "related",
        "relation": "ancestor",
        "positives": 4,
        "related_hidden": 9,
        "queries_with_hidden": 2,
    }
    facts = dict(counted(card.describe(dataset(tmp_path / "made", hidden=hidden), encoder)))
    assert facts["known truth"] == (
        "training sees all 4 positives; 9 unlabelled documents (ancestor of a positive of 2 training queries) count as "
        "hidden from it: near-relevant, but no answers in evaluation"
    )


def test_lengths_are_counted_once(encoder: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["once", "and never again"]
    first = token_counts(Path(encoder["model"]), lines, "")
    monkeypatch.setattr(lengths, "chunks", None)
    np.testing.assert_array_equal(token_counts(Path(encoder["model"]), lines, ""), first)
    with pytest.raises(TypeError):
        token_counts(Path(encoder["model"]), lines, "prompt ")


def test_the_command_writes_both_files_alike_each_time(tmp_path: Path, encoder: dict[str, Any]) -> None:
    folder = dataset(tmp_path / "made")
    for name in ("one", "other"):
        card.main(folder, json.dumps(encoder), tmp_path / name / "made.json")
    for file in ("made.json", "made.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert json.loads((tmp_path / "one" / "made.json").read_text())["copies"]["documents"] == 2


def test_tokens_that_a_tokenizer_does_not_know_are_counted(encoder: dict[str, Any]) -> None:
    """[CLS] w1 [UNK] [UNK] [SEP], and [CLS] w2 [SEP]."""
    known = open_tokenizer(Path(encoder["model"]))
    words = [word for word in known.get_vocab() if word.isalnum()][:2]
    counts = token_counts(Path(encoder["model"]), [f"{words[0]} ䷀ ䷁", words[1]], "")
    np.testing.assert_array_equal(counts, [[5, 3], [2, 0]])


@pytest.mark.slow
@needs_data
def test_arguana_has_its_queries_in_the_corpus(tmp_path: Path, encoder: dict[str, Any]) -> None:
    """Its known quirks: 1,406 queries of which 5 label a document that is not there, 48 copies, no training split."""
    asked = {"name": "arguana", "source": "arguana", "seed": 0, "documents": None, "test_only": True}
    made, told = prepare.prepare(asked)
    prepare.write(made, tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(told))
    found = card.describe(tmp_path, encoder)
    assert found["copies"]["documents"] == 48
    assert found["self_ids"]["queries"] > 1200
    assert found["labels_a_query"].keys() == {"test"}
    assert found["labels_a_query"]["test"]["positives"] == 1401
