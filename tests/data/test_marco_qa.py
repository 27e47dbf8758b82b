"""MS MARCO QA's records as a collection, worked by hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from negmark.core.errors import UserError
from negmark.data.marco_qa import files_of, write_beir
from negmark.data.numbering import read
from negmark.data.records import Records

RECORDS = [
    {"query_id": 7, "query": "cost of sales", "passages": {"passage_text": ["a", "b", "a"], "is_selected": [0, 0, 1]}},
    {"query_id": 9, "query": "gold", "passages": [{"passage_text": "b", "is_selected": 0, "url": "x"}]},
]  # fmt: skip


def converted(folder: Path) -> Records:
    write_beir(files_of(folder), folder / "made", "mine")
    return Records(folder / "made", "mine")


@pytest.mark.parametrize("lines", [False, True])
def test_passages_become_documents_once_and_selected_ones_are_relevant(tmp_path: Path, lines: bool) -> None:
    text = "\n".join(map(json.dumps, RECORDS)) if lines else json.dumps(RECORDS)
    (tmp_path / "sample.json.gz").write_bytes(gzip.compress(text.encode()))
    records = converted(tmp_path)
    assert [(document.id, document.text) for document in records.documents()] == [("p0", "a"), ("p1", "b")]
    assert [(query.id, query.text) for _, query in records.queries()] == [
        ("7", "cost of sales"),
        ("9", "gold"),
    ]
    judged = [(row.query, row.document, row.grade) for row in records.judgments("test")]
    assert judged == [("7", "p0", 1), ("7", "p1", 0), ("9", "p1", 0)]
    assert read(records).queries == ["cost of sales", "gold"]


def test_a_file_is_the_split_that_its_name_says(tmp_path: Path) -> None:
    for name in ("train_v1.1.json", "dev_v1.1.json", "restraint.json"):
        (tmp_path / name).write_text(json.dumps(RECORDS))
    assert converted(tmp_path).splits() == ["dev", "test", "train"]


def test_a_folder_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("")
    (tmp_path / "other.json").write_text("[]")
    assert files_of(tmp_path) == []
    assert files_of(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{]", "mine/x.json: not JSON"),
        ([{**RECORDS[0], "query": 3}], "mine/x.json: record 1: expected query_id, query and passages"),
        ([RECORDS[0], {"query_id": 1}], "mine/x.json: record 2: expected query_id"),
        ([{**RECORDS[1], "passages": []}], "record 1: expected"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "x.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=message):
        converted(tmp_path)


def test_two_files_of_a_split_are_refused(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(RECORDS))
    with pytest.raises(UserError, match="two files are of one split"):
        converted(tmp_path)
