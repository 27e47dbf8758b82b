"""A subset of a large corpus is what cutting it in memory gives, and needs the memory of the subset alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from builders import ROOT
from negmark.core.seeds import stream
from negmark.data import prepare
from negmark.data.numbering import number_documents, read_documents
from negmark.data.records import Records
from negmark.store import collection
from negmark.suite.settings import DatasetSettings

PASSAGES, TRAIN, TOPICS = 400, 60, 5


def settings(source: Path, **changes):
    defaults = {**DatasetSettings().model_dump(), "name": "marco", "source": str(source), "dev_queries": 0}
    return {**defaults, **changes}


def write_marco(folder: Path, passages: int = PASSAGES, train: int = TRAIN, topics: int = TOPICS) -> Path:
    """A passage collection: train query i has passage 3 i, dev query i passage 3 i + 1, topic i six judged ones."""
    folder.mkdir()
    with (folder / "collection.tsv").open("w") as file:
        file.writelines(f"{row}\tpassage {row} of some words\n" for row in range(passages))
    for split, first in (("train", 0), ("dev", 1)):
        with (folder / f"queries.{split}.tsv").open("w") as file:
            file.writelines(f"{split}{row}\tquestion {row}\n" for row in range(train))
        with (folder / f"qrels.{split}.tsv").open("w") as file:
            file.writelines(f"{split}{row}\t0\t{3 * row + first}\t1\n" for row in range(train))
    with (folder / "msmarco-test2019-queries.tsv").open("w") as file:
        file.writelines(f"topic{row}\ttopic {row}\n" for row in range(topics))
    with (folder / "2019qrels-pass.txt").open("w") as file:
        rows = ((topic, 7 * topic + place, place % 4) for topic in range(topics) for place in range(6))
        file.writelines(f"topic{topic} Q0 {passage} {grade}\n" for topic, passage, grade in rows)
    return folder


MARCO = {"test_split": "dl19", "relevant_grade": {"test": 2}, "train_queries": 20, "documents": 200}


def test_subset_has_what_was_asked_for(tmp_path: Path) -> None:
    source = write_marco(tmp_path / "marco")
    made, card = prepare.prepare(settings(source, **MARCO))
    queries = {made.query_ids[row] for row in made.qrels["train"][:, 0]}
    assert len(queries) == 20
    assert all(name.startswith("train") for name in queries)
    kept = set(made.document_ids)
    assert len(kept) == card["documents"] == 200
    judged = {str(7 * topic + place) for topic in range(TOPICS) for place in range(6)}
    assert judged <= kept
    assert {str(3 * int(name.removeprefix("train"))) for name in queries} <= kept
    assert {made.query_ids[row] for row in made.qrels["test"][:, 0]} == {
        f"topic{row}" for row in range(TOPICS)
    }
    assert made.texts == [f"passage {name} of some words" for name in made.document_ids]
    assert card["queries"] == {"train": 20, "dev": TRAIN, "test": TOPICS}
    assert (card["documents_full"], card["test_split"], card["relevant_grade"]) == (
        PASSAGES,
        "dl19",
        {"test": 2},
    )


def test_draw_is_that_of_the_whole_corpus_in_memory(tmp_path: Path) -> None:
    """The rule written out: all labelled documents, and of the others the first of a seeded permutation."""
    source = write_marco(tmp_path / "marco")
    made, _ = prepare.prepare(settings(source, **MARCO, seed=4))
    labelled = np.unique(
        [int(made.document_ids[row]) for rows in made.qrels.values() for row in np.unique(rows[:, 1])]
    )
    others = np.setdiff1d(np.arange(PASSAGES), labelled)
    drawn = stream(4, "documents").permutation(others)[: 200 - len(labelled)]
    assert [int(name) for name in made.document_ids] == sorted([*labelled.tolist(), *drawn.tolist()])


def test_same_seed_same_subset(tmp_path: Path) -> None:
    source = write_marco(tmp_path / "marco")
    cards = [prepare.prepare(settings(source, **MARCO, seed=seed))[1] for seed in (0, 0, 1)]
    assert cards[0] == cards[1]
    assert cards[0]["sha256"] == cards[2]["sha256"]
    for table in ("documents", "queries"):
        assert cards[0]["ids_sha256"][table] != cards[2]["ids_sha256"][table]


def test_dev_queries_may_be_the_test_split(tmp_path: Path) -> None:
    source = write_marco(tmp_path / "marco")
    made, card = prepare.prepare(settings(source, test_split="dev", train_queries=10, dev_queries=5))
    assert {made.query_ids[row] for row in made.qrels["test"][:, 0]} == {f"dev{row}" for row in range(TRAIN)}
    assert card["queries"] == {"train": 10, "dev": 5, "test": TRAIN}
    assert not {made.query_ids[row][:3] for row in made.qrels["dev"][:, 0]} - {"tra"}


def test_relevant_grade_reaches_slices_labels_and_table(tmp_path: Path) -> None:
    """Topic 0 has the passages 1 and 5 at grade 1, 2 at 2, 3 at 3; passage 3 is the positive of a training query."""
    source = write_marco(tmp_path / "marco")
    graded = {"test_split": "dl19", "train_queries": TRAIN, "documents": None}
    out = tmp_path / "out"
    prepare.main(json.dumps(settings(source, **graded, relevant_grade={"test": 2})), out)
    found = collection.qrels(out, "test")
    assert (found.relevant, collection.qrels(out, "train").relevant) == (2, 1)
    assert found.positives().grades.min() == 2
    names = collection.column(out, collection.QUERIES, "id")
    slice_of = dict(zip(names, collection.column(out, collection.QUERIES, "slice"), strict=True))
    # relevant from grade 2 on are 7 t + 2 and 7 t + 3, and training positives are the multiples of 3
    assert {name: slice_of[name] for name in sorted(slice_of) if name.startswith("topic")} == {
        "topic0": "seen", "topic1": "seen", "topic2": "unseen", "topic3": "seen", "topic4": "seen",
    }  # fmt: skip
    plain = prepare.slices(prepare.prepare(settings(source, **graded))[0])
    assert plain.count("seen") == 5
    prepare.main(json.dumps(settings(source, **graded)), tmp_path / "plain")
    assert collection.qrels(tmp_path / "plain", "test").relevant == 1


@pytest.mark.parametrize("relevant", [{"train": 2}, {"train": 2, "test": 2}])
def test_training_labels_below_the_grade_train_nothing(tmp_path: Path, relevant) -> None:
    from negmark.core.errors import UserError

    source = write_marco(tmp_path / "marco")
    with pytest.raises(UserError, match="has no training labels"):
        prepare.prepare(settings(source, test_split="dl19", relevant_grade=relevant))


def test_documents_are_numbered_without_those_that_come_again(tmp_path: Path) -> None:
    source = write_marco(tmp_path / "marco")
    lines = (source / "collection.tsv").read_text().splitlines(keepends=True)
    (source / "collection.tsv").write_text("".join([*lines[:3], lines[1], *lines[3:], lines[399], lines[0]]))
    records = Records(source)
    found = number_documents(records, {"2", "3", "399", "ghost"})
    assert (found.total, found.rows) == (PASSAGES, {"2": 2, "3": 3, "399": 399})
    assert found.repeated.tolist() == [3, 401, 402]
    rows = [0, 2, 3, 399]
    assert [document.id for document in read_documents(records, rows, found.repeated)] == [*map(str, rows)]


CHILD = """
import json, resource, sys
from pathlib import Path
from negmark.data import prepare as data
data.main(sys.argv[1], Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_subset_of_a_full_passage_collection_needs_less_than_two_gigabytes(tmp_path: Path) -> None:
    """MS MARCO has 8,841,823 passages and about 500,000 labelled training queries."""
    source = write_marco(tmp_path / "marco", passages=8_841_823, train=500_000, topics=43)
    dataset = settings(source, **{**MARCO, "train_queries": 5_000, "documents": 600_000})
    # in kilobytes on Linux
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(dataset), str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.splitlines()[-1])
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    print(f"peak {peak / 1024:.0f} MiB, {card}")
    assert card["documents_full"] == 8_841_823
    assert card["documents"] == 600_000
    assert card["queries"]["train"] == 5_000
    assert peak < 2 * 1024 * 1024
