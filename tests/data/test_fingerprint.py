"""The fingerprint of a collection: what it must not see, and what it must."""

import gzip
from pathlib import Path

import pytest

from negmark.core.errors import UserError
from negmark.data.catalogue import UNRECORDED, known_datasets
from negmark.data.fingerprint import check_fingerprint, collection_sha256

FILES = {
    "corpus.jsonl": (
        '{"_id": "d1", "title": "Aspirin", "text": "lowers fever"}\n{"_id": "d2", "title": "", "text": "né"}\n'
    ),
    "queries.jsonl": '{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n',
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t2\n",
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
}
SHA256 = "a90462d389ae3a4e252c500ac5733a7c0882d61e7ff849e1c7d49a3af55714a1"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "collection" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "collection"


def replace(folder: Path, name: str, old: str, new: str) -> None:
    data = (folder / name).read_bytes()
    assert old.encode() in data
    (folder / name).write_bytes(data.replace(old.encode(), new.encode()))


def test_the_fingerprint_stays_what_it_is(collection: Path) -> None:
    """A change here makes every fingerprint in datasets.yaml wrong."""
    assert collection_sha256(collection) == SHA256


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("corpus.jsonl", "\n", "\r\n"),
        ("corpus.jsonl", "né", "n\\u00e9"),
        ("corpus.jsonl", '"title": "", ', ""),
        ("corpus.jsonl", '"title": ""', '"title": null, "metadata": {}'),
        ("corpus.jsonl", '{"_id": "d1", "title": "Aspirin"', '{"title":"Aspirin","_id":"d1"'),
        ("queries.jsonl", FILES["queries.jsonl"], "".join(reversed(FILES["queries.jsonl"].splitlines(True)))),
        ("qrels/train.tsv", "\n", "\r\n"),
        ("qrels/train.tsv", "q1\td2\t1\nq2\td1\t2\n", "q2\td1\t2\n\nq1\td2\t1"),
    ],
)
def test_the_spelling_of_the_files_does_not_matter(collection: Path, name: str, old: str, new: str) -> None:
    replace(collection, name, old, new)
    assert collection_sha256(collection) == SHA256


def test_compression_does_not_matter(collection: Path) -> None:
    for name in FILES:
        file = collection / name
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert collection_sha256(collection) == SHA256


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("corpus.jsonl", "fever", "fevers"),
        ("corpus.jsonl", "Aspirin", "aspirin"),
        ("corpus.jsonl", "d2", "d3"),
        ("corpus.jsonl", FILES["corpus.jsonl"], "".join(reversed(FILES["corpus.jsonl"].splitlines(True)))),
        ("queries.jsonl", "two", "too"),
        ("qrels/train.tsv", "d1\t2", "d1\t1"),
        ("qrels/test.tsv", "q1\td1\t1\n", ""),
    ],
)
def test_the_content_matters(collection: Path, name: str, old: str, new: str) -> None:
    replace(collection, name, old, new)
    assert collection_sha256(collection) != SHA256


def test_which_split_holds_a_judgment_matters(collection: Path) -> None:
    (collection / "qrels" / "test.tsv").rename(collection / "qrels" / "dev.tsv")
    assert collection_sha256(collection) != SHA256


def test_a_right_or_unrecorded_fingerprint_passes(collection: Path) -> None:
    check_fingerprint("mine", collection_sha256(collection), SHA256)
    check_fingerprint("mine", collection_sha256(collection), None)


def test_another_content_is_told_in_one_line(collection: Path) -> None:
    replace(collection, "corpus.jsonl", "fever", "fevers")
    with pytest.raises(
        UserError, match=f"mine: not the expected dataset: .* expected {SHA256}. Use an unchanged copy"
    ):
        check_fingerprint("mine", collection_sha256(collection), SHA256)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "corpus.jsonl",
            '{"_id": "d1", "text": "a"}\n{"_id": "d2"',
            r'corpus\.jsonl: line 2: .*"_id" and "text"',
        ),
        ("corpus.jsonl", '{"_id": 1, "text": "a"}', r"corpus\.jsonl: line 1"),
        ("queries.jsonl", '["q1", "a"]', r"queries\.jsonl: line 1"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n", r"test\.tsv: line 2: expected query-id"),
        (
            "qrels/test.tsv",
            "query-id\tcorpus-id\tscore\nq1\td1\thigh\n",
            r"test\.tsv: line 2: expected query-id",
        ),
    ],
)
def test_a_bad_line_is_named(collection: Path, name: str, text: str, message: str) -> None:
    (collection / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        collection_sha256(collection)


def test_a_file_that_is_not_utf8_is_named(collection: Path) -> None:
    (collection / "queries.jsonl").write_bytes('{"_id": "q1", "text": "né"}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"queries\.jsonl: line 1: not UTF-8"):
        collection_sha256(collection)


def test_a_missing_file_is_named(collection: Path) -> None:
    (collection / "queries.jsonl").unlink()
    with pytest.raises(UserError, match=r"queries\.jsonl is missing; expected the BEIR layout"):
        collection_sha256(collection)


def test_the_table_of_datasets_holds_whole_hashes() -> None:
    for entry in known_datasets().values():
        assert entry.md5 in (None, UNRECORDED) or len(entry.md5) == 32
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert entry.md5 or entry.sha256 or entry.kind == "sentences"  # a user's own file, of any length


def test_relations_between_documents_are_part_of_the_content(collection: Path) -> None:
    (collection / "graph.tsv").write_text(
        "document-id\tother-id\trelation\nd2\td1\tancestor\nd1\td2\tsibling\n"
    )
    related = collection_sha256(collection)
    assert related != SHA256
    (collection / "graph.tsv").write_text("d1\td2\tsibling\nd2\td1\tancestor\n")
    assert collection_sha256(collection) == related
