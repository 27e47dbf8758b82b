"""Records in all forms: what is read, what is refused with its place, and what is handled and counted."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from negmark.core.errors import UserError
from negmark.data.fingerprint import collection_sha256
from negmark.data.numbering import Reading, read, without_positives
from negmark.data.records import Records, role

DOCUMENTS = {"d1": "fever", "d2": "blood", "d3": "sugar"}
QUESTIONS = {"q1": "what is fever", "q2": "what is blood"}
LABELS = {"train": [("q1", "d1", 1)], "test": [("q2", "d2", 2), ("q2", "d3", 0)]}


def lines(rows) -> str:
    return "".join(f"{row}\n" for row in rows)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "qrels").mkdir(parents=True)
    objects = {"corpus": DOCUMENTS, "queries": QUESTIONS}
    for name, texts in objects.items():
        rows = (json.dumps({"_id": key, "text": text}) for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text(lines(rows))
    for split, rows in LABELS.items():
        body = lines("\t".join(map(str, row)) for row in rows)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + body)
    return folder


@pytest.fixture
def marco(tmp_path: Path) -> Path:
    folder = tmp_path / "marco"
    folder.mkdir()
    (folder / "collection.tsv").write_text(lines(f"{key}\t{text}" for key, text in DOCUMENTS.items()))
    (folder / "queries.train.tsv").write_text("q1\twhat is fever\n")
    (folder / "msmarco-test2019-queries.tsv").write_text("q2\twhat is blood\n")
    (folder / "qrels.train.tsv").write_text("q1\t0\td1\t1\n")
    (folder / "2019qrels-pass.txt").write_text("q2 Q0 d2 2\nq2 Q0 d3 0\n")
    return folder


def found(folder: Path, test_split: str = "test") -> tuple[dict, Reading]:
    """Labels as triples of ids a split, and all that was read."""
    reading = read(Records(folder), test_split)
    names = [document.id for document in Records(folder).documents()]
    labels = {
        split: [(reading.query_ids[query], names[document], int(grade)) for query, document, grade in rows]
        for split, rows in reading.qrels.items()
    }
    return labels, reading


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def refused(folder: Path, message: str, test_split: str = "test") -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(Records(folder, shown="./mine"), test_split)
    assert str(caught.value).startswith("./mine")
    assert "\n" not in str(caught.value)


# --- forms ---


def test_beir_layout_is_read(beir: Path) -> None:
    labels, reading = found(beir)
    assert labels == LABELS
    assert dict(zip(reading.query_ids, reading.queries, strict=True)) == QUESTIONS
    assert reading.documents.total == 3
    assert reading.met == {}


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (".trec", "{} 0 {} {}"),
        (".qrels", "{}\tQ0\t{}\t{}"),
        (".txt", "{}  0   {} {}"),
        (".tsv", "{} 0 {} {}"),
        (".txt", "{0}\t{1}\t{2}"),
    ],
)
def test_judgments_are_known_by_their_content(beir: Path, ending: str, line: str) -> None:
    whole = collection_sha256(beir)
    for split, rows in LABELS.items():
        (beir / "qrels" / f"{split}.tsv").unlink()
        (beir / "qrels" / f"{split}{ending}").write_text(lines(line.format(*row) for row in rows))
    assert found(beir)[0] == LABELS
    assert collection_sha256(beir) == whole


def test_a_first_label_without_a_header_is_a_label(beir: Path) -> None:
    """BEIR's own loader takes it for the header and loses it."""
    (beir / "qrels" / "train.tsv").write_text("q1\td1\t1\n")
    assert found(beir)[0] == LABELS


@pytest.mark.parametrize(
    "header",
    [
        "query-id\tcorpus-id\tscore", "query-id\tcorpus-id\trelevance", "qid\tpid\trel ", "Query\tDoc\tLABEL",
        '"query-id"\t"corpus-id"\t"score"', "query_id iter doc_id rel", "query_id\tQ0\tdoc_id\t relevance",
        "质问\t文档\t相关性",
    ],
)  # fmt: skip
def test_a_header_is_known_by_its_form(beir: Path, header: str) -> None:
    """Where a grade would be stands a word."""
    for split, rows in LABELS.items():
        text = lines("\t".join(map(str, row)) for row in rows)
        (beir / "qrels" / f"{split}.tsv").write_text(f"\n{header}\n{text}")
    assert found(beir)[0] == LABELS


@pytest.mark.parametrize("score", ["2.5", "1_0", "nan ", "0x1", "", "-", "\N{FULLWIDTH DIGIT TWO}"])
def test_what_is_no_word_is_no_header(beir: Path, score: str) -> None:
    """A label on the first line isn't lost."""
    (beir / "qrels" / "train.tsv").write_text(f"q1\td1\t{score}\nq1\td1\t1\n")
    refused(beir, rf"train\.tsv: line 1: expected query-id, .* found the score {score!r}; fix the line")


def test_one_header_is_enough(beir: Path) -> None:
    change(beir / "qrels" / "test.tsv", "q2\td2\t2", "query\tdocument\tgrade")
    refused(beir, r"test\.tsv: line 2: expected .* found the score 'grade'; fix the line")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"text": "blood"', '"title": NaN, "text": "b"', r'"title": expected a string, or left out, found NaN'),
        ('"text": "blood"', '"title": 1984, "text": "b"', r'"title": expected a string, or left out, found 1984'),
        ('"text": "blood"', '"title": ["a", "b"], "text": "b"', r'"title": .* found \["a", "b"\]'),
        ('"text": "blood"', '"title": 0, "text": "b"', r'"title": .* found 0'),
        ('"text": "blood"', '"text": NaN', r'"text": expected a string, found NaN'),
        ('"text": "blood"', '"contents": "blood"', r'"text": expected a string, there is none'),
        ('"_id": "d2"', '"id": "d2"', r'"_id": expected a string, there is none'),
        ('"_id": "d2"', '"_id": 2', r'"_id": expected a string, found 2'),
    ],
)  # fmt: skip
def test_the_field_of_a_record_that_is_no_string_is_named(beir: Path, old: str, new: str, told: str) -> None:
    change(beir / "corpus.jsonl", old, new)
    refused(beir, rf"corpus\.jsonl: line 2: {told}")


def test_a_title_may_be_null_or_missing(beir: Path) -> None:
    whole = found(beir)
    change(beir / "corpus.jsonl", '"text": "blood"', '"title": null, "text": "blood"')
    assert found(beir)[0] == whole[0]


def test_gzipped_files_are_read(beir: Path) -> None:
    for file in [path for path in beir.rglob("*") if path.is_file()]:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert found(beir)[0] == LABELS
    assert Records(beir).judged("test") == "qrels/test.tsv.gz"


@pytest.mark.parametrize("packed", [False, True])
def test_ms_marco_layout_is_read_and_has_the_same_hash(beir: Path, marco: Path, packed: bool) -> None:
    if packed:
        file = marco / "collection.tsv"
        (marco / "collection.tsv.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    labels, reading = found(marco, "dl19")
    assert labels == LABELS
    assert dict(zip(reading.query_ids, reading.queries, strict=True)) == QUESTIONS
    shutil.move(marco / "2019qrels-pass.txt", marco / "qrels.test.tsv")
    assert collection_sha256(marco) == collection_sha256(beir)


def test_a_query_in_two_files_of_ms_marco_counts_once(marco: Path) -> None:
    (marco / "queries.dev.tsv").write_text("q2\twhat is blood\n")
    assert found(marco, "dl19")[1].met == {}
    (marco / "queries.dev.tsv").write_text("q2\twhat is BLOOD\n")
    with pytest.raises(UserError, match=r"'q2' is already used on line 1 of .* with another text"):
        found(marco, "dl19")


def test_names_of_files() -> None:
    names = {
        "corpus.jsonl.gz": "corpus.jsonl", "qrels/dl20.tsv": "qrels/dl20", "qrels.dev.small.tsv": "qrels/dev.small",
        "queries.dev.small.tsv": "queries/dev.small", "2020qrels-pass.txt": "qrels/dl20",
        "msmarco-test2020-queries.tsv.gz": "queries/dl20", "qrels/test.py": None, "README": None,
        "corpus.json": None, "qrels/a/b.tsv": None, "qrels/.tsv": None,
    }  # fmt: skip
    assert {name: role(name) for name in names} == names


def test_another_split_is_the_test_split(beir: Path) -> None:
    (beir / "qrels" / "dl20.tsv").write_text("q1\td3\t3\n")
    assert found(beir, "dl20")[0] == {"train": LABELS["train"], "test": [("q1", "d3", 3)]}
    (beir / "qrels" / "dl20.tsv").rename(beir / "qrels" / "dev.tsv")
    assert found(beir, "dev")[0] == {"train": LABELS["train"], "test": [("q1", "d3", 3)]}


# --- refused ---


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("corpus.jsonl", '"d2", ', '"d2"', r"corpus\.jsonl: line 2: expected a JSON object .* fix the line"),
        ("corpus.jsonl", '{"_id": "d2", "text": "blood"}', "[1]", r"corpus\.jsonl: line 2: expected a JSON"),
        ("corpus.jsonl", '"d2"', "2", r"corpus\.jsonl: line 2: \"_id\": expected"),
        ("corpus.jsonl", '"text": "blood"', '"text": null', r"corpus\.jsonl: line 2: \"text\": expected"),
        ("corpus.jsonl", '"text": "blood"', '"title": 3, "text": ""', r"corpus\.jsonl: line 2: \"title\": expected"),
        ("corpus.jsonl", '"blood"', '"b\\ud800"', r"corpus\.jsonl: line 2: an escape .* is half a character"),
        ("corpus.jsonl", '"d3"', '"d1"', r"corpus\.jsonl: line 3: the id 'd1' is already used on line 1 with another"),
        ("queries.jsonl", '"q2"', '"q1"', r"queries\.jsonl: line 2: the id 'q1' is already used on line 1 of que"),
        ("queries.jsonl", "what is blood", " ", r"queries\.jsonl: line 2: query 'q2' has labels but no text; add"),
        ("qrels/test.tsv", "q2\td2\t2", "q2\td2", r"test\.tsv: line 2: expected query-id, corpus-id and a whole score"),
        ("qrels/test.tsv", "d2\t2", "d2\t2.5", r"test\.tsv: line 2: expected query-id"),
        ("qrels/test.tsv", "q2\td3\t0", "q2 0 d3 0", r"test\.tsv: line 3: expected query-id"),
        ("qrels/test.tsv", "q2\td3", "q9\td3", r"test\.tsv: line 3: query 'q9' is not in queries\.jsonl; add it there"),
        ("qrels/test.tsv", "q2\td3\t0", "q2\td2\t0", r"test\.tsv: line 3: query 'q2' and document 'd2' already "),
        ("qrels/train.tsv", "q1\td1\t1\n", "", r"qrels/train\.tsv: has no entry; fill the file or remove it"),
        ("qrels/train.tsv", "d1", "1", r"train\.tsv: line 2: document '1' is not in corpus\.jsonl, nor is any other"),
    ],
)  # fmt: skip
def test_a_record_that_has_no_meaning_is_refused_with_its_place(
    beir: Path, name: str, old: str, new: str, message: str
) -> None:
    change(beir / name, old, new)
    refused(beir, message)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_what_is_not_utf8_is_refused_with_its_place(beir: Path, name: str) -> None:
    (beir / name).write_bytes((beir / name).read_bytes() + b"caf\xe9\n")
    refused(beir, rf"{name}: line \d: not UTF-8; save the file as UTF-8")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named(beir: Path, name: str) -> None:
    (beir / name).unlink()
    refused(beir, rf"{name}( is missing; expected the BEIR layout|; a board needs a test split)")


def test_a_folder_without_any_labels_is_told_before_anything_is_read(beir: Path) -> None:
    shutil.rmtree(beir / "qrels")
    (beir / "corpus.jsonl").write_text("broken")
    with pytest.raises(UserError, match=r"qrels/test\.tsv is missing"):
        Records(beir).check()


def test_a_missing_split_is_told_with_those_that_are_there(beir: Path) -> None:
    refused(beir, r"there is no qrels/dl20\.tsv; .* `test_split` \(available: test, train\)", "dl20")


def test_two_files_of_one_split_are_refused(beir: Path) -> None:
    shutil.copy(beir / "qrels" / "test.tsv", beir / "qrels" / "test.trec")
    refused(beir, r"qrels/test\.trec and qrels/test\.tsv both hold the split test; keep one")


@pytest.mark.parametrize("kept", [0, 1])
def test_a_corpus_of_one_document_is_refused(beir: Path, kept: int) -> None:
    corpus = beir / "corpus.jsonl"
    corpus.write_text(lines(corpus.read_text().splitlines()[:kept]))
    refused(beir, rf"corpus\.jsonl: {kept} documents; a corpus needs at least two")


@pytest.mark.parametrize("line", ["d2 no tab", "\ttext"])
def test_a_line_without_id_and_tab_is_refused(marco: Path, line: str) -> None:
    change(marco / "collection.tsv", "d2\tblood", line)
    refused(marco, r"collection\.tsv: line 2: expected an id, a tab and a text", "dl19")


# --- handled and counted ---


def test_relations_are_read_from_a_file_of_their_own(beir: Path) -> None:
    assert list(Records(beir).relations()) == []
    (beir / "graph.tsv").write_text("document-id\tother-id\trelation\nd1\td2\tancestor\nd2\td3\tsibling\n")
    assert [related[1:] for related in Records(beir).relations()] == [
        ("d1", "d2", "ancestor"),
        ("d2", "d3", "sibling"),
    ]


@pytest.mark.parametrize(
    "line", ["d1\td2", "d1\td2\tcousin", "\td2\tsibling", "d1\td2\tsibling\t1", "relation"]
)
def test_a_line_that_is_no_relation_is_refused(beir: Path, line: str) -> None:
    (beir / "graph.tsv").write_text(f"d1\td2\tsibling\n{line}\n")
    with pytest.raises(
        UserError, match=r"graph\.tsv: line 2: expected document-id, other-id and ancestor or sib"
    ):
        list(Records(beir).relations())


def test_windows_line_ends_blank_lines_and_byte_order_marks_change_nothing_but_counts(beir: Path) -> None:
    whole = collection_sha256(beir)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        data = (beir / name).read_bytes().replace(b"\n", b"\r\n")
        (beir / name).write_bytes(b"\xef\xbb\xbf" + data + b"\r\n")
    labels, reading = found(beir)
    assert labels == LABELS
    assert reading.met == {"byte order marks": 3, "Windows line ends": 3 + 2 + 3 + 3, "blank lines": 3}
    assert reading.queries == list(QUESTIONS.values())
    assert collection_sha256(beir) == whole


def test_labels_of_documents_that_the_corpus_lacks_are_left_out_and_counted(beir: Path) -> None:
    with (beir / "qrels" / "test.tsv").open("a") as file:
        file.write("q2\tghost\t1\nq1\tghost\t1\n")
    labels, reading = found(beir)
    assert labels == LABELS
    assert reading.met == {
        "test labels of documents that the corpus lacks": 2,
        "test queries that lost all their labels so": 1,
    }


def test_what_comes_again_word_for_word_counts_once(beir: Path) -> None:
    corpus = (beir / "corpus.jsonl").read_text().splitlines()
    (beir / "corpus.jsonl").write_text(lines([corpus[0], corpus[0], *corpus[1:], corpus[1]]))
    (beir / "queries.jsonl").write_text((beir / "queries.jsonl").read_text() * 2)
    with (beir / "qrels" / "test.tsv").open("a") as file:
        file.write("q2\td2\t2\n")
    reading = read(Records(beir))
    assert reading.met == {
        "documents that come again": 2, "queries that come again": 2, "labels that come again": 1,
    }  # fmt: skip
    assert reading.documents.total == 3
    assert reading.documents.rows == {"d1": 0, "d2": 1, "d3": 2}
    assert reading.qrels["test"].tolist() == [[1, 1, 2], [1, 2, 0]]


def test_documents_without_a_text_stay_and_are_counted(beir: Path) -> None:
    change(beir / "corpus.jsonl", '"fever"', '" "')
    change(beir / "corpus.jsonl", '"blood"', '"", "title": "Blood"')
    labels, reading = found(beir)
    assert labels == LABELS
    assert reading.met == {"documents without a text": 1}


def test_queries_without_a_relevant_document_are_counted() -> None:
    qrels = {
        "train": np.array([[0, 0, 1], [1, 0, 0]]),
        "test": np.array([[2, 0, 1], [2, 1, 2], [3, 0, 1], [4, 0, 2]]),
    }
    kind = "{} queries without a relevant document"
    assert without_positives(qrels, {}) == {kind.format("train"): 1}
    assert without_positives(qrels, {"test": 2}) == {kind.format("train"): 1, kind.format("test"): 1}
    assert without_positives(qrels, {"test": 3})[kind.format("test")] == 3


@pytest.mark.parametrize("key", ["_id", "text", "title"])
def test_a_key_that_stands_twice_in_a_record_is_named(beir: Path, key: str) -> None:
    """JSON would take the last one and say nothing."""
    file = beir / "corpus.jsonl"
    first, rest = file.read_text(encoding="utf-8").split("\n", 1)
    file.write_text(f'{{"title": "", "{key}": "other", {first[1:]}\n{rest}', encoding="utf-8")
    with pytest.raises(UserError, match=f'corpus.jsonl: line 1: "{key}" is there twice in one object'):
        list(Records(beir).documents())


def test_a_key_within_a_text_or_another_object_is_no_second_one(beir: Path) -> None:
    record = {"_id": "new", "text": 'said "text": no', "metadata": {"_id": "x", "text": "y"}}
    with (beir / "corpus.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
    assert [*Records(beir).documents()][-1].id == "new"


@pytest.mark.parametrize(
    "header",
    [
        "corpus-id\tquery-id\tscore",
        "docid\tqid\trel",
        "document\titeration\ttopic\trelevance",
        "query-id\tcorpus-id\tscore\tsplit",
    ],
)
def test_a_header_that_names_other_columns_is_refused(beir: Path, header: str) -> None:
    """Where ids are numbers, queries and documents could change places and nobody would see it."""
    (beir / "qrels" / "train.tsv").write_text(f"{header}\n")
    with pytest.raises(
        UserError, match=r"qrels/train\.tsv: line 1: the columns are .*; put them in this order"
    ):
        list(Records(beir).judgments("train"))


@pytest.mark.parametrize(
    "header", ["query-id\tcorpus-id\tscore", "qid\t0\tdocno\trel", "topic\titer\tdoc\tjudgment"]
)
def test_a_header_in_the_order_that_is_read_is_taken(beir: Path, header: str) -> None:
    (beir / "qrels" / "train.tsv").write_text(f"{header}\n")
    assert list(Records(beir).judgments("train")) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(b"{}", mtime=0), r"gzipped: end its name in \.gz"),
        ("{}".encode("utf-16"), "UTF-16: save the file as UTF-8"),
        (b"PK\x03\x04\xff", "a zip archive: unpack it"),
        (b"\xe9", "save the file as UTF-8"),
    ],
)
def test_what_is_not_utf8_is_told_by_its_first_bytes(beir: Path, content: bytes, told: str) -> None:
    (beir / "corpus.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=f"corpus.jsonl: line 1: not UTF-8; {told}"):
        list(Records(beir).documents())


def test_a_line_that_is_no_record_is_shown(beir: Path) -> None:
    (beir / "corpus.jsonl").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(
        UserError, match=r"line 1: expected a JSON object .* begins with 'version https://git-lfs"
    ):
        list(Records(beir).documents())


def test_splits_that_nothing_reads_are_counted(beir: Path) -> None:
    """So is a dev split under another name, which would be drawn from training."""
    (beir / "qrels" / "validation.tsv").write_text((beir / "qrels" / "train.tsv").read_text())
    (beir / "qrels" / "._train.tsv").write_bytes(b"\0\5\x16\7")  # macOS leaves these
    assert Records(beir).splits() == ["test", "train", "validation"]
    assert read(Records(beir)).met == {"splits that nothing reads (validation)": 1}
