"""Datasets are split, cut and described as their settings say, and leakage between training and test is shown."""

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from builders import collection_of, write_beir
from negmark.board import card_text
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.store import collection
from negmark.suite.settings import DatasetSettings

REAL = os.environ.get("NEGMARK_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="NEGMARK_DATA names no folder of datasets")

DOCUMENTS = 150
CORPUS = {f"d{row}": (f"Title {row}" if row % 2 else "", f"text of {row}") for row in range(DOCUMENTS)}
TRAIN = [(f"t{row}", f"d{row}", 1) for row in range(80)] + [("t0", "d100", 1), ("t3", "d5", 0)]
TEST = [
    ("a", "d2", 1),
    ("a", "d120", 1),
    ("b", "d121", 2),
    ("c", "d5", 0),
    ("c", "d122", 1),
    ("e", "d100", 1),
]
# d2 and d100 are training positives: a and e are seen; d5 has grade 0 in c's labels: b and c are unseen
QUERIES = {
    name: f"question {name}" for name in [*(f"t{row}" for row in range(80)), "a", "b", "c", "e", "unused"]
}


@pytest.fixture
def beir(tmp_path):
    return write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": TRAIN, "test": TEST})


def settings(source, **changes):
    defaults = DatasetSettings().model_dump()
    return {**defaults, "name": "made", "source": str(source), "dev_queries": 0, **changes}


def labels(made: prepare.Collection, split: str) -> set[tuple[str, str, int]]:
    rows = made.qrels.get(split, np.empty((0, 3), int))
    return {
        (made.query_ids[query], made.document_ids[document], int(grade)) for query, document, grade in rows
    }


def positives(made: prepare.Collection, split: str) -> set[str]:
    return {document for _, document, grade in labels(made, split) if grade > 0}


def queries_of(made: prepare.Collection, split: str) -> set[str]:
    return {query for query, _, _ in labels(made, split)}


def test_everything_is_kept_where_nothing_is_asked_for(beir):
    made, _ = prepare.prepare(settings(beir))
    assert made.document_ids == list(CORPUS)
    assert (made.titles[1], made.titles[2], made.texts[3]) == ("Title 1", "", "text of 3")
    assert labels(made, "train") == set(TRAIN)
    assert labels(made, "test") == set(TEST)
    assert dict(zip(made.query_ids, made.queries, strict=True)) == {
        name: text for name, text in QUERIES.items() if name != "unused"
    }


def test_an_own_folder_may_tell_how_documents_are_related(beir, tmp_path):
    """Pairs of which a document is cut, or was never there, are left out."""
    pairs = {(f"d{row}", f"d{row + 1}", "sibling") for row in range(DOCUMENTS)} | {("d3", "d0", "ancestor")}
    (beir / "graph.tsv").write_text("".join("\t".join(pair) + "\n" for pair in sorted(pairs)))
    made, card = prepare.prepare(settings(beir, documents=120))
    prepare.write(made, tmp_path)
    ids = collection.column(tmp_path, collection.DOCUMENTS, "id")
    found = {
        (ids[row], ids[other], name)
        for name in ("ancestor", "sibling")
        for row, others in enumerate(collection.column(tmp_path, collection.DOCUMENTS, name))
        for other in others
    }
    assert found == {pair for pair in pairs if {pair[0], pair[1]} <= set(ids)}
    assert 80 < card["relations"]["sibling"] < DOCUMENTS - 1
    assert card["relations"] == {"ancestor": 1, "sibling": len(found) - 1}


def test_card_tells_the_facts(beir):
    _, card = prepare.prepare(settings(beir, dev_queries=4, documents=130))
    assert len(card.pop("sha256")) == 64
    assert {len(value) for value in card.pop("ids_sha256").values()} == {64}
    assert card == {
        "name": "made", "dataset": "made", "regime": "standard", "source": "own folder made",
        "licence": "as its owner states", "documents": 130, "documents_full": 150,
        "queries": {"train": 76, "dev": 4, "test": 4}, "queries_full": {"train": 80, "dev": 0, "test": 4},
        "labels": {**card["labels"], "test": 6}, "graded": True,
        "seen_test_queries": card["seen_test_queries"], "unseen_test_queries": 4 - card["seen_test_queries"],
        "odd": {},
    }  # fmt: skip
    assert card["labels"]["train"] + card["labels"]["dev"] == len(TRAIN)


def test_training_queries_become_the_test_split_where_there_is_none(beir):
    (beir / "qrels" / "test.tsv").unlink()
    made, card = prepare.prepare(settings(beir, test_queries=10, dev_queries=7))
    assert labels(made, "train") | labels(made, "dev") | labels(made, "test") == set(TRAIN)
    parts = [queries_of(made, split) for split in ("train", "dev", "test")]
    assert [len(part) for part in parts] == [63, 7, 10]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert (card["test_queries"], card["queries"]) == (10, {"train": 63, "dev": 7, "test": 10})
    assert "10 training queries, set aside by negmark" in card_text.markdown(card)
    again, _ = prepare.prepare(settings(beir, test_queries=10, dev_queries=7))
    other, _ = prepare.prepare(settings(beir, test_queries=10, dev_queries=7, seed=1))
    assert queries_of(again, "test") == parts[2] != queries_of(other, "test")
    alone, _ = prepare.prepare(settings(beir, test_queries=10, test_only=True))
    assert queries_of(alone, "test") == parts[2]


def test_queries_without_a_relevant_document_are_not_set_aside(beir):
    (beir / "qrels" / "test.tsv").unlink()
    with (beir / "qrels" / "train.tsv").open("a") as stream:
        stream.writelines(f"{name}\td1\t0\n" for name in "abce")
    for seed in range(10):
        made, _ = prepare.prepare(settings(beir, test_queries=40, seed=seed))
        assert not queries_of(made, "test") & set("abce")


def test_strict_holds_where_the_test_split_is_set_aside(tmp_path):
    """Passages that come in two queries' labels are the leak of such a split."""
    train = [(f"t{row}", f"d{row // 2 if row < 20 else row}", 1) for row in range(80)]
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": train})
    standard, card = prepare.prepare(settings(folder, test_queries=20))
    shared = positives(standard, "train") & positives(standard, "test")
    assert shared
    assert card["seen_test_queries"] >= len(shared)
    made, card = prepare.prepare(settings(folder, test_queries=20, regime="strict"))
    assert queries_of(made, "test") == queries_of(standard, "test")
    assert positives(made, "train") == positives(standard, "train") - shared
    assert card["seen_test_queries"] == 0


def test_a_test_split_is_set_aside_only_where_there_is_none_and_enough(beir):
    with pytest.raises(
        UserError, match=r"datasets\.made\.test_queries: .*made has a test split of its own; leave it out"
    ):
        prepare.prepare(settings(beir, test_queries=10))
    (beir / "qrels" / "test.tsv").unlink()
    with pytest.raises(
        UserError, match=r"datasets\.made\.test_queries: 41 is more than half of the 80 training queries"
    ):
        prepare.prepare(settings(beir, test_queries=41))


def test_slices_by_hand(beir):
    made, card = prepare.prepare(settings(beir))
    slice_of = dict(zip(made.query_ids, prepare.slices(made), strict=True))
    assert {name: slice_of[name] for name in "abce"} == {
        "a": "seen",
        "b": "unseen",
        "c": "unseen",
        "e": "seen",
    }
    assert {slice_of[name] for name in slice_of if name not in "abce"} == {None}
    assert (card["seen_test_queries"], card["unseen_test_queries"]) == (2, 2)


def test_dev_positives_are_no_training_positives(beir):
    """A test document whose only training query went to dev was not trained on."""
    made = collection_of(
        ["d0", "d1"], ["t", "u", "a"], {"train": [(1, 1, 1)], "dev": [(0, 0, 1)], "test": [(2, 0, 1)]}
    )
    assert prepare.slices(made) == [None, None, "unseen"]


def test_strict_drops_what_test_queries_find(beir):
    made, card = prepare.prepare(settings(beir, regime="strict"))
    assert not positives(made, "train") & positives(made, "test")
    assert labels(made, "train") == {row for row in TRAIN if row[1] not in ("d2", "d100")}
    assert labels(made, "test") == set(TEST)
    assert "t2" not in made.query_ids
    assert (card["seen_test_queries"], card["unseen_test_queries"]) == (0, 4)
    assert card["queries"]["train"] == 79
    assert card["queries_full"]["train"] == 80


def test_a_test_query_that_training_has_too_is_seen(tmp_path):
    """It was trained on, whatever its positives are there."""
    test = [("q1", "d4", 1), ("q3", "d4", 1)]
    queries = {"q1": "first", "q2": "second", "q3": "third"}
    corpus = {f"d{row}": ("", f"text {row}") for row in range(5)}
    made, _ = prepare.prepare(
        settings(
            write_beir(
                tmp_path / "m", corpus, queries, {"train": [("q1", "d1", 1), ("q2", "d2", 1)], "test": test}
            )
        )
    )
    assert dict(zip(made.query_ids, prepare.slices(made), strict=True)) == {
        "q1": "seen",
        "q2": None,
        "q3": "unseen",
    }


def test_strict_drops_what_is_asked_again(tmp_path):
    """Under its id or, but for case and space, in its words."""
    count = prepare.MINIMUM_TRAINING_QUERIES + 2
    queries = {f"q{row}": f"question {row}" for row in range(count)} | {"t": "  Question 1 "}
    corpus = {f"d{row}": ("", f"text {row}") for row in range(count + 2)}
    train = [(f"q{row}", f"d{row}", 1) for row in range(count)]
    test = [("q0", f"d{count}", 1), ("t", f"d{count + 1}", 1)]
    made, card = prepare.prepare(
        settings(write_beir(tmp_path / "m", corpus, queries, {"train": train, "test": test}), regime="strict")
    )
    assert queries_of(made, "train") == {f"q{row}" for row in range(2, count)}
    assert card["unseen_test_queries"] == 2


@pytest.mark.parametrize("shared", [30, 31])
def test_strict_is_refused_below_fifty_training_queries(tmp_path, shared):
    test = [("a", f"d{row}", 1) for row in range(shared)]
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": TRAIN[:80], "test": test})
    if shared == 30:
        assert prepare.prepare(settings(folder, regime="strict"))[1]["queries"]["train"] == 50
    else:
        message = "datasets.made: regime strict leaves 49 training queries, fewer than 50: nearly every .* use standard"
        with pytest.raises(UserError, match=message):
            prepare.prepare(settings(folder, regime="strict"))


def test_query_left_with_grade_zero_alone_is_no_training_query(tmp_path):
    train = [(f"t{row}", f"d{row}", 1) for row in range(50)] + [("t0", "d140", 0)]
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": train, "test": [("a", "d0", 1)]})
    with pytest.raises(UserError, match="strict leaves 49 training queries"):
        prepare.prepare(settings(folder, regime="strict"))


@pytest.mark.parametrize(("dev_queries", "count"), [(3, 3), (8, 8), (100, 8), (0, 0)])
def test_dev_split_is_disjoint_and_at_most_a_tenth(beir, dev_queries, count):
    made, _ = prepare.prepare(settings(beir, dev_queries=dev_queries))
    assert len(queries_of(made, "dev")) == count
    assert not queries_of(made, "dev") & queries_of(made, "train")
    assert labels(made, "dev") | labels(made, "train") == set(TRAIN)


def test_dev_split_follows_its_seed_alone(beir):
    first, again, other = (prepare.prepare(settings(beir, dev_queries=8, seed=seed))[0] for seed in (0, 0, 1))
    assert queries_of(first, "dev") == queries_of(again, "dev")
    assert queries_of(first, "dev") != queries_of(other, "dev")


def test_dev_split_of_the_dataset_itself_is_kept(tmp_path):
    dev = [("e", "d9", 1)]
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": TRAIN, "dev": dev, "test": TEST[:3]})
    made, _ = prepare.prepare(settings(folder, dev_queries=8))
    assert labels(made, "dev") == set(dev)
    assert labels(made, "train") == set(TRAIN)


@pytest.mark.parametrize("documents", [87, 100, 149])
def test_sub_collection_keeps_labelled_documents(beir, documents):
    made, card = prepare.prepare(settings(beir, documents=documents))
    labelled = {document for _, document, _ in [*TRAIN, *TEST]}
    assert len(made.document_ids) == card["documents"] == documents
    assert labelled <= set(made.document_ids)
    assert labels(made, "train") == set(TRAIN)
    assert labels(made, "test") == set(TEST)
    order = [int(name[1:]) for name in made.document_ids]
    assert order == sorted(order)
    assert all(text == f"text of {row}" for row, text in zip(order, made.texts, strict=True))


def test_sub_collection_follows_its_seed(beir):
    first, again, other = (
        set(prepare.prepare(settings(beir, documents=100, seed=seed))[0].document_ids) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_sub_collection_that_is_too_small_is_refused(beir):
    count = len({document for _, document, _ in [*TRAIN, *TEST]})
    assert prepare.prepare(settings(beir, documents=count))[1]["documents"] == count
    message = rf"datasets\.made\.documents: {count - 1} is fewer than the {count} labelled documents; raise it or lower"
    with pytest.raises(UserError, match=message):
        prepare.prepare(settings(beir, documents=count - 1))


def test_sub_collection_larger_than_the_corpus_is_the_corpus(beir):
    assert prepare.prepare(settings(beir, documents=10_000))[1]["documents"] == DOCUMENTS


def test_training_queries_are_a_seeded_draw_with_all_labels(beir):
    made, card = prepare.prepare(settings(beir, train_queries=10))
    assert card["queries"] == {"train": 10, "dev": 0, "test": 4}
    chosen = queries_of(made, "train")
    assert labels(made, "train") == {row for row in TRAIN if row[0] in chosen}
    assert queries_of(prepare.prepare(settings(beir, train_queries=10))[0], "train") == chosen
    assert queries_of(prepare.prepare(settings(beir, train_queries=10, seed=1))[0], "train") != chosen
    assert queries_of(prepare.prepare(settings(beir, train_queries=500))[0], "train") == queries_of(
        made, "train"
    ) | {query for query, _, _ in TRAIN}


@pytest.mark.parametrize("regime", ["standard", "strict"])
def test_all_cuts_together_never_leak(beir, regime):
    changes = {"dev_queries": 5, "train_queries": 60, "documents": 120, "regime": regime, "seed": 3}
    made, card = prepare.prepare(settings(beir, **changes))
    assert not queries_of(made, "train") & (queries_of(made, "dev") | queries_of(made, "test"))
    assert not queries_of(made, "dev") & queries_of(made, "test")
    assert card["queries"] == {"train": 60, "dev": 5, "test": 4}
    assert labels(made, "test") == set(TEST)
    if regime == "strict":
        assert not positives(made, "train") & positives(made, "test")


def test_unknown_query_is_named_with_its_file(beir):
    with (beir / "qrels" / "train.tsv").open("a") as stream:
        stream.write("ghost\td1\t1\n")
    with pytest.raises(
        UserError, match=r"qrels/train\.tsv: line 84: query 'ghost' is not in queries\.jsonl; add"
    ):
        prepare.prepare(settings(beir))


def test_missing_test_split_is_refused(beir):
    (beir / "qrels" / "test.tsv").unlink()
    with pytest.raises(UserError, match=r"made: there is no qrels/test\.tsv; a board needs a test split"):
        prepare.prepare(settings(beir))


@pytest.mark.parametrize("split", ["train", "test"])
def test_split_without_an_entry_is_refused(tmp_path, split):
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": TRAIN, "test": TEST, split: []})
    with pytest.raises(
        UserError, match=rf"made/qrels/{split}\.tsv: has no entry; fill the file or remove it"
    ):
        prepare.prepare(settings(folder))


def test_loader_draws_no_bar(beir, capfd):
    prepare.prepare(settings(beir))
    assert "%" not in capfd.readouterr().err


def test_test_split_without_a_relevant_document_is_refused(tmp_path):
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"train": TRAIN, "test": [("a", "d1", 0)]})
    with pytest.raises(UserError, match=r"datasets\.made: no test query of .* has a relevant document"):
        prepare.prepare(settings(folder))


@pytest.mark.parametrize("train", [None, [("t1", "d1", 0)]])
def test_dataset_without_training_labels_is_refused(tmp_path, train):
    splits = {"test": TEST} if train is None else {"train": train, "test": TEST}
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, splits)
    with pytest.raises(
        UserError, match=r"datasets\.made: .* has no training labels, so nothing can be trained"
    ):
        prepare.prepare(settings(folder))


def test_folder_may_be_called_by_a_dot(beir, monkeypatch):
    monkeypatch.chdir(beir)
    (beir / "inner").mkdir()
    card = prepare.prepare(settings("."))[1]
    assert (card["dataset"], card["source"], card["queries"]["train"]) == ("made", "own folder made", 80)
    monkeypatch.chdir(beir / "inner")
    assert prepare.prepare(settings(".."))[1] == card


def test_stage_writes_tables_that_say_the_same(beir, tmp_path):
    out = tmp_path / "out"
    options = settings(beir, dev_queries=8, documents=120)
    prepare.main(json.dumps(options), out)
    made, card = prepare.prepare(options)
    assert json.loads((out / "card.json").read_text()) == card
    assert collection.column(out, collection.DOCUMENTS, "id") == made.document_ids
    assert collection.column(out, collection.QUERIES, "slice") == prepare.slices(made)
    for split in ("train", "dev", "test"):
        found = collection.qrels(out, split)
        rows = np.column_stack([found.queries, found.documents, found.grades])
        assert rows.tolist() == made.qrels[split].tolist()
    documents, queries = collection.texts(out)
    assert documents[1] == "Title 1 text of 1"
    assert documents[2] == "text of 2"
    assert queries == made.queries
    assert sorted(path.name for path in out.iterdir()) == [
        "card.json", "documents.parquet", "qrels.parquet", "queries.parquet",
    ]  # fmt: skip
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    prepare.main(json.dumps(options), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_broken_table_is_named_in_one_line(beir, tmp_path):
    prepare.main(json.dumps(settings(beir)), tmp_path / "out")
    (tmp_path / "out" / "queries.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(
        UserError, match=r"queries\.parquet: can't be read .*; delete it and run again"
    ) as caught:
        collection.column(tmp_path / "out", collection.QUERIES, "id")
    assert "\n" not in str(caught.value)


@needs_data
def test_scifact_has_196_seen_and_104_unseen_test_queries():
    """Counted beforehand from the files with a script of its own; DESIGN of the project names both numbers."""
    made, card = prepare.prepare(settings("scifact", name="scifact"))
    assert card["source"] == "local data setting"
    assert (card["documents"], card["queries"]) == (5183, {"train": 809, "dev": 0, "test": 300})
    assert (card["seen_test_queries"], card["unseen_test_queries"]) == (196, 104)
    lines = {
        split: [
            line.split("\t")
            for line in Path(REAL, "scifact/qrels", f"{split}.tsv").read_text().splitlines()[1:]
        ]
        for split in ("train", "test")
    }
    trained = {document for _, document, grade in lines["train"] if int(grade) > 0}
    seen = {query for query, document, grade in lines["test"] if int(grade) > 0 and document in trained}
    slice_of = dict(zip(made.query_ids, prepare.slices(made), strict=True))
    assert {name for name, slice_ in slice_of.items() if slice_ == "seen"} == seen
    strict, strict_card = prepare.prepare(settings("scifact", name="scifact", regime="strict"))
    assert strict_card["unseen_test_queries"] == 300
    assert not positives(strict, "train") & positives(strict, "test")


@needs_data
def test_strict_nfcorpus_is_refused():
    with pytest.raises(
        UserError,
        match=r"datasets\.nfcorpus: regime strict leaves [\d,]+ of [\d,]+ training pairs, fewer than 10%",
    ):
        prepare.prepare(settings("nfcorpus", name="nfcorpus", regime="strict"))


def prepared_with(beir, tmp_path, monkeypatch, **changes):
    """Run the stage on a dataset with a local task of two graded pairs."""
    task = tmp_path / "local" / "sts" / "mine"
    task.mkdir(parents=True, exist_ok=True)
    (task / "pairs.tsv").write_text("4.5\tone\ttwo\n1\tthree\tfour\n")
    monkeypatch.setenv("NEGMARK_DATA", str(tmp_path / "local"))
    options = {**settings(beir), **changes}
    prepare.main(json.dumps(options), tmp_path / "out")
    return tmp_path / "out", json.loads((tmp_path / "out" / "card.json").read_text())


def test_graded_pairs_stand_behind_the_queries_and_change_nothing_else(beir, tmp_path, monkeypatch):
    plain, card = prepared_with(beir, tmp_path, monkeypatch)
    queries = [collection.column(plain, collection.QUERIES, name) for name in ("id", "text", "slice")]
    assert len(collection.graded_pairs(plain)[0]) == 0
    assert "graded_pairs" not in card
    folder, card = prepared_with(beir, tmp_path, monkeypatch, graded=["mine"])
    rows, scores = collection.graded_pairs(folder)
    texts = collection.column(folder, collection.QUERIES, "text")
    assert [[texts[row] for row in pair] for pair in rows] == [["one", "two"], ["three", "four"]]
    assert scores.tolist() == [4.5, 1.0]
    for name, before in zip(("id", "text", "slice"), queries, strict=True):
        assert collection.column(folder, collection.QUERIES, name)[:-4] == before
    assert collection.column(folder, collection.QUERIES, "slice")[-4:] == [None] * 4
    assert card["graded_pairs"] == {"mine": 2}
    assert len(card["graded_sha256"]) == 64


def test_a_dataset_that_is_evaluated_alone_keeps_its_test_split(beir, tmp_path, monkeypatch):
    folder, card = prepared_with(beir, tmp_path, monkeypatch, test_only=True)
    assert sorted(collection.column(folder, collection.QUERIES, "id")) == ["a", "b", "c", "e"]
    assert set(collection.column(folder, collection.QUERIES, "slice")) == {None}
    assert set(collection.column(folder, collection.QRELS, "split")) == {"test"}
    assert card["queries"] == {"train": 0, "dev": 0, "test": 4}
    assert card["documents"] == DOCUMENTS


def test_a_dataset_without_training_labels_can_be_evaluated_alone(tmp_path, monkeypatch):
    folder = write_beir(tmp_path / "made", CORPUS, QUERIES, {"test": TEST})
    with pytest.raises(UserError, match="no training labels, so nothing can be trained on it"):
        prepare.prepare(settings(folder))
    assert prepared_with(folder, tmp_path, monkeypatch, test_only=True)[1]["queries"]["test"] == 4


# --- own archives and folders, from end to end ---


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_own_archive_gives_what_its_folder_gives(beir, tmp_path, kind):
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, beir.parent, beir.name)
    made, card = prepare.prepare(settings(packed, dev_queries=5, documents=120))
    same, other = prepare.prepare(settings(beir, dev_queries=5, documents=120))
    assert made.document_ids == same.document_ids
    assert labels(made, "train") == labels(same, "train")
    assert card["source"] == f"own archive {Path(packed).name}"
    assert {key for key in card if card[key] != other[key]} == {"dataset", "source"}


def test_messages_about_an_archive_name_it_and_no_temporary_file(beir, tmp_path, monkeypatch):
    (beir / "queries.jsonl").write_text('{"_id": "a"')
    shutil.make_archive(str(tmp_path / "packed"), "zip", beir.parent, beir.name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^\./packed\.zip/queries\.jsonl: line 1: expected a JSON object"):
        prepare.prepare(settings("./packed.zip"))


def test_odd_records_stand_on_the_card(beir, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("NEGMARK_LOG", str(tmp_path / "log"))
    with (beir / "qrels" / "test.tsv").open("a", newline="") as file:
        file.write("a\tghost\t1\r\nt1\tghost\t2\r\n")
    prepare.main(json.dumps(settings(beir)), tmp_path / "out")
    odd = json.loads((tmp_path / "out" / "card.json").read_text())["odd"]
    assert odd == {
        "test labels of documents that the corpus lacks": 2,
        "test queries that lost all their labels so": 1,
        "Windows line ends": 2,
    }
    assert "2 test labels of documents that the corpus lacks, 1 test queries that" in capfd.readouterr().err


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none: there is no such folder or archive"):
        prepare.prepare(settings(tmp_path / "none"))


def beir_loader_says(folder: Path, split: str) -> tuple[dict, dict, dict]:
    """What BEIR's own loader reads of plain copies of the files."""
    from beir.datasets.data_loader import GenericDataLoader

    return GenericDataLoader(str(folder)).load(split=split)


def plain_copy(source: Path, target: Path) -> Path:
    for file in [path for path in source.rglob("*") if path.is_file() and path.suffix in (".gz", ".tsv")]:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        whole = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        place.with_name(place.name.removesuffix(".gz")).write_bytes(whole)
    return target


@needs_data
@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "arguana"])
def test_real_data_read_as_beir_reads_them(tmp_path, name):
    made, _ = prepare.prepare(settings(name, name=name, test_only=True))
    corpus, queries, qrels = beir_loader_says(plain_copy(Path(REAL, name), tmp_path / name), "test")
    assert made.document_ids == list(corpus)
    assert made.titles == [entry["title"] for entry in corpus.values()]
    assert made.texts == [entry["text"] for entry in corpus.values()]
    asked_of = dict(zip(made.query_ids, made.queries, strict=True))
    assert asked_of == {query: queries[query] for query in asked_of}
    assert labels(made, "test") == {
        (query, document, grade)
        for query, graded in qrels.items()
        for document, grade in graded.items()
        if document in corpus
    }


ARGUANA_ODD = {
    "test labels of documents that the corpus lacks": 5,
    "test queries that lost all their labels so": 5,
}
SLICES = {
    # what is asked, and documents, training and test queries, and odd records of it; counted from the files
    "scifact": ({}, 5183, 809, 300, {}),
    "nfcorpus": ({}, 3633, 2590, 323, {}),
    "arguana": ({"test_only": True}, 8674, 0, 1401, ARGUANA_ODD),
    "msmarco-dl": ({"test_only": True, "relevant_grade": {"test": 2}}, 32356, 0, 43, {}),
    "msmarco-dl as dl20": (
        {"test_only": True, "test_split": "dl20", "relevant_grade": {"test": 2}}, 32356, 0, 54, {},
    ),
    "msmarco-devpos": ({"regime": "strict"}, 6588, 5090, 1000, {}),
    "msmarco-devpos cut": ({"train_queries": 500, "documents": 3000}, 3000, 500, 1000, {}),
    "msmarco-qa-sample": ({"test_only": True}, 1624, 0, 200, {"test queries without a relevant document": 11}),
    "wordnet-examples": ({}, 30351, 39668, 2119, {}),
}  # fmt: skip


@needs_data
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow) if size[1] > 20_000 else case
        for case, size in SLICES.items()
    ],
)
def test_every_real_slice_becomes_a_dataset(case, tmp_path):
    """Through the stage itself, by name where there is one and by path else."""
    changes, documents, train, test, odd = SLICES[case]
    name = case.split()[0]
    source = name if name in ("scifact", "nfcorpus", "arguana") else str(Path(REAL, name))
    prepare.main(json.dumps(settings(source, name=name, **changes)), tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["documents"], card["queries"]["train"], card["queries"]["test"]) == (documents, train, test)
    assert card["odd"] == odd
    assert len(collection.column(tmp_path, collection.DOCUMENTS, "id")) == documents
    found = collection.qrels(tmp_path, "test")
    assert found.relevant == changes.get("relevant_grade", {}).get("test", 1)
    unanswered = odd.get("test queries without a relevant document", 0)
    assert len(np.unique(found.positives().queries)) == test - unanswered


@needs_data
def test_full_judgments_of_trec_count_what_the_slice_lacks(tmp_path):
    """The official qrels of DL 2019 in TREC form: 9,260 labels, of which MANIFEST counts 5,699 in the corpus."""
    source = tmp_path / "dl"
    (source / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl.gz", "queries.jsonl.gz"):
        (source / name).symlink_to(Path(REAL, "msmarco-dl", name))
    judged = Path(REAL, "msmarco-dl", "judged", "qrels.dl19-passage.full.txt.gz")
    (source / "qrels" / "test.trec.gz").symlink_to(judged)
    made, card = prepare.prepare(settings(source, test_only=True, relevant_grade={"test": 2}))
    counted = [line.split() for line in gzip.decompress(judged.read_bytes()).decode().splitlines()]
    known = set(made.document_ids)
    inside = {(query, document, int(grade)) for query, _, document, grade in counted if document in known}
    assert labels(made, "test") == inside
    assert len(inside) == 5699
    assert card["odd"]["test labels of documents that the corpus lacks"] == len(counted) - 5699
