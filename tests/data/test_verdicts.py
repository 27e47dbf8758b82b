"""Files of verdicts: what a line may be, how it is matched with a collection, and what is told of it."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from builders import collection_of
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.data import prepare, verdicts
from negmark.data.verdict_files import read_verdicts
from negmark.store.pool import CandidatePool


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Three training queries of one positive each, of which q0's is d0, and a test query."""
    folder = tmp_path_factory.mktemp("verdicts") / "dataset"
    train = [(0, 0, 1), (1, 1, 1), (2, 2, 1)]
    made = collection_of(
        [f"d{row}" for row in range(6)],
        [f"q{row}" for row in range(4)],
        {"train": train, "test": [(3, 3, 1)]},
    )
    prepare.write(made, folder)
    return folder


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What the stage says."""
    lines: list[str] = []
    monkeypatch.setattr(stage, "say", lines.append)
    return lines


def written(path: Path, *lines) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def line(query="q0", document="d3", verdict="better", **others):
    return {"query": query, "document": document, "verdict": verdict, **others}


def pooled(dataset, tmp_path, *lines):
    verdicts.main(written(tmp_path / "v.jsonl", *lines), dataset, tmp_path / "pool.safetensors")
    return CandidatePool(tmp_path / "pool.safetensors")


def test_ids_and_texts_name_the_same_pair(dataset, tmp_path):
    lines = (
        line(judge="a"),
        line("query q0", "document d4", "worse"),
        line("q0", " Document  D5 ", "irrelevant"),
    )
    pool = pooled(dataset, tmp_path, *lines)
    ids, scores = pool.candidates(np.array([0, 1]))
    assert ids.tolist() == [[3, 4, 5], [-1, -1, -1]]
    assert scores[0].tolist() == [2, 1, 0]
    assert np.isneginf(scores[1]).all()


def test_the_best_verdict_comes_first_and_the_last_one_on_a_pair_counts(dataset, tmp_path, said):
    lines = [line(document="d3"), line(document="d4"), line(document="d5", verdict="relevant", judge="b")]
    pool = pooled(dataset, tmp_path, *lines, line(document="d3", verdict="irrelevant", judge="b"))
    ids, scores = pool.candidates(np.array([0]))
    assert ids.tolist() == [[4, 5, 3]]
    assert scores.tolist() == [[2, 2, 0]]
    told = "\n".join(said)
    assert "2 verdicts by b: 1 relevant, 0 relevant but worse, 1 irrelevant" in told
    assert "1 verdicts by unnamed" in told
    assert "1 verdicts are overruled by a later one on the same pair" in told


def test_labelled_positives_and_other_queries_are_left_out_and_told(dataset, tmp_path, said):
    pool = pooled(dataset, tmp_path, line(), line(document="d0"), line(query="q3"), line(query="nobody"))
    assert pool.candidates(np.array([0]))[0].tolist() == [[3]]
    told = "\n".join(said)
    assert "1 verdicts are on a labelled positive" in told
    assert "2 verdicts are on no training query" in told
    assert "1 pairs of 1 of 3 training queries" in told


@pytest.mark.parametrize(
    "bad",
    [
        "no json",
        "[1, 2]",
        '{"query": "q0", "document": "d1"}',
        '{"query": "q0", "document": "d1", "verdict": "perhaps"}',
        '{"query": "q0", "document": "d1", "verdict": true}',
        '{"query": ["q0"], "document": "d1", "verdict": "better"}',
        '{"query": "q0", "document": null, "verdict": "better"}',
        '{"query": "q0", "document": "d1", "verdict": "better", "judge": {}}',
    ],
)
def test_a_bad_line_is_told_with_file_and_number(bad, tmp_path):
    file = written(tmp_path / "v.jsonl", line(), "", bad)
    with pytest.raises(UserError) as told:
        list(read_verdicts(file))
    message = str(told.value)
    assert message.startswith(
        f"{file}: line 3: expected a JSON object with query and document (ids or texts), verdict ("
    )
    assert message.endswith("; fix the line")
    assert "\n" not in message


def test_blank_lines_marks_and_gzip_are_read(tmp_path):
    path = tmp_path / "v.jsonl.gz"
    path.write_bytes(gzip.compress(("\ufeff" + json.dumps(line(query=7)) + "\n\n").encode()))
    (only,) = read_verdicts(path)
    assert (only.query, only.document, only.verdict, only.judge) == ("7", "d3", 2, "unnamed")


def test_what_is_no_document_or_no_query_is_one_line(dataset, tmp_path):
    file = written(tmp_path / "v.jsonl", line(), line(document="nothing"), line(document="none"))
    with pytest.raises(
        UserError, match=r"v.jsonl: line 2: a verdict on no document of dataset: 'nothing'; 2 of the file's"
    ):
        verdicts.judged(file, dataset)
    with pytest.raises(UserError, match="none of its 1 verdicts is on a training query of dataset"):
        verdicts.judged(written(tmp_path / "w.jsonl", line(query="q3")), dataset)
