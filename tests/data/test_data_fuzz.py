"""Damaged datasets by the hundred: each is read by a rule, with what was odd counted, or refused in one line."""

import gzip
import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutations import damaged_bytes
from negmark.core.errors import UserError
from negmark.data import prepare, records

SETTINGS: dict[str, Any] = {
    "name": "mine", "source": "./mine", "regime": "standard", "documents": None, "train_queries": None,
    "dev_queries": 0, "seed": 0, "graded": [],
}  # fmt: skip
TEXTS = [f"text {row} of thing {row % 7}, 12 of them" for row in range(14)]
QUERIES = [f"question {row} about thing {row % 7}" for row in range(12)]
HEAD = "query-id\tcorpus-id\tscore\n"


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def record(row: int) -> dict[str, Any]:
    passages = [f"passage {row} {place}" for place in range(3)]
    selected = [int(place == row % 3) for place in range(3)]
    return {
        "query_id": row,
        "query": QUERIES[row],
        "passages": {"passage_text": passages, "is_selected": selected},
    }


BEIR = {
    "corpus.jsonl": lines(
        [{"_id": f"d{row}", "title": f"Title {row}", "text": text} for row, text in enumerate(TEXTS)]
    ),
    "queries.jsonl": lines([{"_id": f"q{row}", "text": text} for row, text in enumerate(QUERIES)]),
    "qrels/train.tsv": HEAD + "".join(f"q{row}\td{row}\t1\n" for row in range(8)),
    "qrels/test.trec": "".join(f"q{row} 0 d{row} {1 + row % 2}\n" for row in range(8, 12)),
}
MARCO = {
    "collection.tsv": "".join(f"{row}\t{text}\n" for row, text in enumerate(TEXTS)),
    "queries.train.tsv": "".join(f"{row}\t{text}\n" for row, text in enumerate(QUERIES[:8])),
    "queries.test.tsv": "".join(f"{row + 8}\t{text}\n" for row, text in enumerate(QUERIES[8:])),
    "qrels.train.tsv": "".join(f"{row}\t0\t{row}\t1\n" for row in range(8)),
    "qrels.test.tsv": "".join(f"{row}\t0\t{row}\t1\n" for row in range(8, 12)),
}
QA = {
    "train.jsonl": lines([record(row) for row in range(8)]),
    "test.json": json.dumps([*map(record, range(8, 12))]),
}
LAYOUTS = {"BEIR": BEIR, "MARCO": MARCO, "QA": QA}
ARCHIVES = {"zip": "zip", "gztar": "tar.gz", "tar": "tar"}


def written(files: dict[str, bytes], kind: str) -> str:
    """Write a collection below the folder that the test runs in; return it as a source."""
    shutil.rmtree("mine", ignore_errors=True)
    for name, content in files.items():
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if kind in ARCHIVES:
        shutil.make_archive("mine", kind, "mine")
        return f"./mine.{ARCHIVES[kind]}"
    return "./mine"


def prepared(source: str = "./mine") -> tuple[prepare.Collection | None, dict[str, Any] | str]:
    """The collection and its card, or the message of the error."""
    try:
        return prepare.prepare({**SETTINGS, "source": source})
    except UserError as error:
        return None, str(error)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from([*LAYOUTS, *ARCHIVES]), st.integers(0, 2**32 - 1))
def test_a_damaged_dataset_is_read_by_a_rule_or_refused_in_one_line(tmp_path_factory, kind, seed):
    os.chdir(tmp_path_factory.getbasetemp())
    random = Random(seed)
    files = {name: text.encode() for name, text in LAYOUTS.get(kind, BEIR).items()}
    for _ in range(random.choice([1, 1, 2]) if kind in LAYOUTS else 0):
        name = random.choice(list(files))
        files[name] = damaged_bytes(files[name], random)
        if random.random() < 0.1:
            files[f"{name}.gz"] = damaged_bytes(gzip.compress(files.pop(name)), random)
            break
    source = written(files, kind)
    if kind in ARCHIVES:
        Path(source).write_bytes(damaged_bytes(Path(source).read_bytes(), random))
    collection, card = prepared(source)
    if collection is None:
        assert str(card).startswith((source, "datasets.mine", str(Path("mine").resolve())))
        assert str(card).isprintable()
        return
    prepare.write(collection, Path("prepared"))
    assert json.dumps(card, allow_nan=False)
    for rows in collection.qrels.values():
        assert np.array_equal(rows[:, 2], rows[:, 2].astype(np.int32))
        assert rows[:, 1].max(initial=0) < len(collection.document_ids)
    names = [*collection.document_ids, *collection.query_ids]
    assert all(name and "\0" not in name for name in names)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_undamaged_it_is_read(layout, here):
    written({name: text.encode() for name, text in LAYOUTS[layout].items()}, "folder")
    collection, card = prepared()
    assert collection is not None
    assert card["queries"] == {"train": 8, "dev": 0, "test": 4}
    assert card["odd"] == {}


GRADES = "expected query-id, corpus-id and a whole score, tab-separated, or TREC's four columns"
OBJECT = 'expected a JSON object with strings "_id" and "text"; fix the line'


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        *(
            ("qrels/train.tsv", "q3\td3\t1", f"q3\td3\t{grade}", f"qrels/train.tsv: line 5: {GRADES}")
            for grade in ("2147483648", "1_0", "\u0663", "1e3", "1.0", "0x1", "", "NaN")
        ),
        ("corpus.jsonl", '"text 3', f'{"[" * 3000}"text 3', f"corpus.jsonl: line 4: {OBJECT}"),
        ("corpus.jsonl", '"text 3', f'{"[" * 3000}{"]" * 3000}, "a": "', f"corpus.jsonl: line 4: {OBJECT}"),
        ("corpus.jsonl", '"d3"', '""', "corpus.jsonl: line 4: the id '' is empty or has a NUL in it; use another"),
        ("corpus.jsonl", '"d3"', '"d\\u0000"', "corpus.jsonl: line 4: the id 'd\\x00' is empty or has a NUL"),
        ("queries.jsonl", '"q3"', '"\\u0000"', "queries.jsonl: line 4: the id '\\x00' is empty or has a NUL"),
        ("queries.jsonl", '"q3"', "3", 'queries.jsonl: line 4: "_id": expected a string, found 3; a line is a'),
        ("queries.jsonl", '"q3"', '"\\ud800"', "queries.jsonl: line 4: an escape \\ud8.. to \\udf.. is half"),
        ("queries.jsonl", "}", '}{"_id": "q3"}', f"queries.jsonl: line 1: {OBJECT}"),
    ],
)  # fmt: skip
def test_what_no_rule_reads_is_named_with_its_line(file, old, new, message, here):
    content = BEIR[file].replace(old, new, 1)
    assert content != BEIR[file]
    written({name: text.encode() for name, text in {**BEIR, file: content}.items()}, "folder")
    found, error = prepared()
    assert found is None
    assert str(error).startswith(f"./mine/{message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_id": "a\tb"}, "record 3"), ({"query_id": "\ud800"}, "record 3"), ({"query_id": "a\0"}, "record 3"),
        ({"passages": {"passage_text": ["a"], "is_selected": [1.5]}}, "record 3"),
        ({"passages": {"passage_text": ["a"], "is_selected": ["1"]}}, "record 3"),
        ({"passages": {"passage_text": ["a"], "is_selected": [10**30]}}, "record 3"),
        ({"passages": {"passage_text": ["a", "b"], "is_selected": [1]}}, "record 3"),
        ({"passages": []}, "record 3"), ({"query": None}, "record 3"),
    ],
)  # fmt: skip
def test_a_record_of_questions_that_no_rule_reads_is_named(change, message, here):
    rows = [{**record(row), **(change if row == 2 else {})} for row in range(8)]
    written({"train.jsonl": lines(rows).encode(), "test.json": QA["test.json"].encode()}, "folder")
    found, error = prepared()
    assert found is None
    assert str(error).startswith(
        f"./mine/train.jsonl: {message}: expected query_id, query and passages with passage_text"
    )


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_line_without_an_end_fills_no_memory(ending, here, monkeypatch):
    monkeypatch.setattr(records, "LONGEST_LINE", 1 << 20)
    corpus = b'{"_id": "d0", "text": "' + b" " * (5 << 20)
    files = {name: text.encode() for name, text in BEIR.items() if name != "corpus.jsonl"}
    written({**files, f"corpus.jsonl{ending}": gzip.compress(corpus) if ending else corpus}, "folder")
    found, error = prepared()
    assert found is None
    assert f"./mine/corpus.jsonl{ending}: line 1: longer than 1 MB; break the line" == str(error)
