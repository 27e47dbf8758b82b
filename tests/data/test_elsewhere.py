"""Collections by the names of ir_datasets and of the hub, read from local copies, and mixtures of several."""

import json
from pathlib import Path

import pytest

from builders import write_beir
from negmark.board.card_text import origin
from negmark.core.errors import UserError
from negmark.data import elsewhere, hub, ir_dataset, prepare
from negmark.data.records import Records
from negmark.store.sources import source_of, sources_of_queries
from negmark.suite import own_files
from negmark.suite.checks import load

QUERIES = {f"q{row}": f"ask {row}" for row in range(60)}
DOCUMENTS = {f"d{row}": ("", f"answer {row}") for row in range(60)}
TRAIN = [(f"q{row}", f"d{row}", 1) for row in range(50)]
TEST = [(f"q{row}", f"d{row}", 1) for row in range(50, 60)]


def settings(source: str, **more: object) -> dict:
    return {
        "name": "mine", "source": source, "seed": 0, "documents": None, "train_queries": None, "dev_queries": 0,
        "regime": "standard", **more,
    }  # fmt: skip


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A collection that ir_datasets knows, made of local files: documents with the parent, labels below it."""
    package = pytest.importorskip("ir_datasets", reason="pip install 'negmark[ir_datasets]'")
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    (tmp_path / "docs.tsv").write_text("".join(f"{key}\t{text}\n" for key, (_, text) in DOCUMENTS.items()))
    (tmp_path / "queries.tsv").write_text("".join(f"{key}\t{text}\n" for key, text in QUERIES.items()))
    names = {"negmark-made": None, "negmark-made/train": TRAIN, "negmark-made/test": TEST}
    for name, labels in names.items():
        files = {"docs_tsv": str(tmp_path / "docs.tsv")}
        if labels:
            file = tmp_path / f"{name.replace('/', '-')}.qrels"
            file.write_text("".join(f"{query} 0 {document} {grade}\n" for query, document, grade in labels))
            files |= {"queries_tsv": str(tmp_path / "queries.tsv"), "qrels_trec": str(file)}
        monkeypatch.setitem(package.registry._registered, name, package.create_dataset(**files))
    return "ir_datasets:negmark-made"


def test_ir_datasets_gives_documents_of_the_parent_and_labels_of_its_splits(
    registered: str, tmp_path: Path
) -> None:
    found, card = prepare.prepare(settings(registered))
    assert card["dataset"] == "negmark-made"
    assert card["source"].endswith(": negmark-made")
    assert card["queries"] == {"train": 50, "dev": 0, "test": 10}
    assert sorted(found.texts) == sorted(text for _, text in DOCUMENTS.values())
    assert found.queries[0] == "ask 0"


def test_what_cannot_be_downloaded_is_told_with_the_folder_to_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("ir_datasets", reason="pip install 'negmark[ir_datasets]'")

    def fails(*_: object) -> None:
        raise RuntimeError("All download sources failed", [])

    monkeypatch.setattr(package.load("vaswani"), "docs_iter", fails, raising=False)
    with pytest.raises(UserError, match=r"vaswani: .*All download sources failed.*IR_DATASETS_HOME"):
        ir_dataset.fetch("ir_datasets:vaswani", tmp_path, "test")


def test_a_name_with_labels_of_its_own_is_its_own_test_split(registered: str, tmp_path: Path) -> None:
    ir_dataset.fetch(f"{registered}/test", tmp_path / "out", "test")
    records = Records(tmp_path / "out")
    assert records.splits() == ["test"]
    assert [(one.query, one.document, one.grade) for one in records.judgments("test")] == TEST


def test_ir_datasets_says_what_it_lacks(registered: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ir_datasets:no-such-thing: ir_datasets knows no such name"):
        ir_dataset.fetch("ir_datasets:no-such-thing", tmp_path / "a", "test")
    package = pytest.importorskip("ir_datasets")
    package.registry._registered["negmark-bare"] = package.create_dataset(docs_tsv=str(tmp_path / "docs.tsv"))
    with pytest.raises(UserError, match="no labels under this name nor under negmark-bare/train"):
        ir_dataset.fetch("ir_datasets:negmark-bare", tmp_path / "b", "test")


def copy_of_hub(folder: Path, parts: dict[str, dict[str, list[dict]]]) -> Path:
    """A folder as the hub has it: JSON lines for each configuration and split, and a README that names them."""
    lines = ["---", "configs:"]
    for config, splits in parts.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            file = folder / config / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            lines += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install 'negmark[hub]'")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf-cache"))


def labels(rows: list[tuple[str, str, int]]) -> list[dict]:
    return [{"query-id": query, "corpus-id": document, "score": grade} for query, document, grade in rows]


def test_the_hub_gives_a_collection_in_the_form_of_mteb(tmp_path: Path) -> None:
    corpus = [
        {"_id": key, "title": "T" if key == "d0" else "", "text": text}
        for key, (_, text) in DOCUMENTS.items()
    ]
    queries = [{"_id": key, "text": text} for key, text in QUERIES.items()]
    copy = copy_of_hub(
        tmp_path / "copy",
        {"default": {"train": labels(TRAIN), "validation": labels(TEST[:2]), "test": labels(TEST)},
         "corpus": {"corpus": corpus}, "queries": {"queries": queries}},
    )  # fmt: skip
    found, card = prepare.prepare(settings(f"hub:{copy}"))
    assert card["queries"] == {"train": 50, "dev": 2, "test": 10}
    assert card["source"] == "hub: copy"
    assert found.titles[found.document_ids.index("d0")] == "T"


def test_the_hub_gives_pairs_of_texts_and_equal_texts_are_one(tmp_path: Path) -> None:
    rows = [
        {"anchor": f"ask {row}", "positive": f"answer {row // 2}", "negative": "other"} for row in range(60)
    ]
    copy = copy_of_hub(tmp_path / "pairs", {"default": {"train": [*rows, rows[0]]}})
    found, card = prepare.prepare(settings(f"hub:{copy}", test_queries=10))
    assert card["queries"] == {"train": 50, "dev": 0, "test": 10}
    assert len(found.document_ids) == 30
    assert "other" not in found.texts


def test_what_the_hub_leaves_empty_is_no_text_called_none(tmp_path: Path) -> None:
    corpus, queries = [{"_id": "d0", "text": None}, {"_id": "d1", "text": "t"}], [{"_id": "q", "text": "ask"}]
    for place, (grade, told) in enumerate(
        ((1, None), ("1", "expected whole grades, found '1'"), (None, "whole grades, found None"))
    ):
        rows = [{"query-id": "q", "corpus-id": "d1", "score": grade}]
        copy = copy_of_hub(
            tmp_path / f"copy{place}",
            {"default": {"test": rows}, "corpus": {"corpus": corpus}, "queries": {"queries": queries}},
        )
        folder = tmp_path / f"to{place}"
        folder.mkdir()
        if told is None:
            hub.fetch(f"hub:{copy}", folder, "test")
            assert [json.loads(line)["text"] for line in (folder / "corpus.jsonl").open()] == ["", "t"]
        else:
            with pytest.raises(UserError, match=told):
                hub.fetch(f"hub:{copy}", folder, "test")
    pairs = [{"anchor": "ask", "positive": "answer"}, {"anchor": "ask", "positive": None}]
    copy = copy_of_hub(tmp_path / "pairs", {"default": {"train": pairs}})
    with pytest.raises(UserError, match="a row of train has no positive"):
        hub.fetch(f"hub:{copy}", tmp_path / "p", "test")


def test_the_hub_says_what_it_lacks(tmp_path: Path) -> None:
    copy = copy_of_hub(tmp_path / "numbers", {"default": {"train": [{"text": "one", "label": 1}]}})
    with pytest.raises(
        UserError, match="or two columns of texts, query and positive; found the columns text, label"
    ):
        hub.fetch(f"hub:{copy}", tmp_path / "a", "test")
    corpus = {"corpus": [{"_id": "d", "text": "t"}]}
    bare = copy_of_hub(tmp_path / "bare", {"corpus": corpus, "queries": {"queries": corpus["corpus"]}})
    with pytest.raises(UserError, match="it has a corpus and queries but no labels in default or qrels"):
        hub.fetch(f"hub:{bare}", tmp_path / "b", "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"hub:\S*empty: it can't be had from the hub"):
        hub.fetch(f"hub:{tmp_path / 'empty'}", tmp_path / "c", "test")


@pytest.mark.parametrize("column", ["label", "similarity_score", "Score"])
def test_pairs_of_which_some_are_no_positives_are_refused(tmp_path: Path, column: str) -> None:
    rows = [{"sentence1": f"ask {row}", "sentence2": f"answer {row}", column: row % 2} for row in range(4)]
    copy = copy_of_hub(tmp_path / "graded", {"default": {"train": rows}})
    with pytest.raises(UserError, match=f"expected pairs that are all positives; found the column {column}"):
        hub.fetch(f"hub:{copy}", tmp_path / "out", "test")


def test_a_mixture_joins_what_its_sources_have_under_ids_of_their_own(tmp_path: Path) -> None:
    one = write_beir(tmp_path / "one", DOCUMENTS, QUERIES, {"train": TRAIN, "test": TEST})
    other = write_beir(tmp_path / "other", DOCUMENTS, QUERIES, {"train": TRAIN[:20], "dev": TEST[:3]})
    found, card = prepare.prepare(settings("mine", mix={"one": str(one), "other": str(other)}))
    assert card["mixed"] == {"one": 50, "other": 20}
    assert card["queries"] == {"train": 70, "dev": 3, "test": 10}
    assert len(found.document_ids) == 120
    assert {source_of(name) for name in found.document_ids} == {"one", "other"}
    train = found.qrels["train"]
    assert all(
        source_of(found.query_ids[query]) == source_of(found.document_ids[document])
        for query, document, _ in train
    )
    assert found.query_ids[int(train[0, 0])] == "one:q0"
    prepare.write(found, tmp_path / "prepared")
    numbers = sources_of_queries(tmp_path / "prepared")
    assert [["one", "other"][number] for number in numbers] == [source_of(name) for name in found.query_ids]


def test_a_mixture_says_of_which_sources_its_dev_queries_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "negmark")
    one = write_beir(tmp_path / "one", DOCUMENTS, QUERIES, {"train": TRAIN, "test": TEST})
    other = write_beir(tmp_path / "other", DOCUMENTS, QUERIES, {"train": TRAIN[:20], "dev": TEST[:3]})
    mixed = settings("mine", mix={"one": str(one), "other": str(other)}, dev_queries=10)
    _, card = prepare.prepare(mixed)
    assert card["mixed_dev"] == {"one": 0, "other": 3}
    assert ("dev queries by source", "one 0, other 3") in origin(card)
    (tmp_path / "made").mkdir()
    prepare.main(json.dumps(mixed), tmp_path / "made")
    assert "dev queries are from other alone, none from one" in caplog.text


def test_a_source_without_training_labels_is_no_part_of_a_mixture(tmp_path: Path) -> None:
    one = write_beir(tmp_path / "one", DOCUMENTS, QUERIES, {"train": TRAIN, "test": TEST})
    other = write_beir(tmp_path / "other", DOCUMENTS, QUERIES, {"test": TEST})
    with pytest.raises(
        UserError, match=r"mix\.other: .* has no training labels; leave it out of the mixture"
    ):
        prepare.prepare(settings("mine", mix={"one": str(one), "other": str(other)}))


def suite(**dataset: object) -> dict:
    return {"suite": "s", "methods": {"random": None}, "datasets": {"mine": dataset}}


def test_names_are_taken_and_files_of_copies_are_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy_of_hub(tmp_path / "copy", {"default": {"train": [{"a": "x", "b": "y"}]}})
    mixed = {"scifact": None, "copied": "hub:./copy", "named": "ir_datasets:beir/scifact"}
    dataset = load(suite(mix=mixed), "f").datasets["mine"]
    assert dataset.own_files == ["copy/README.md", "copy/default/train.jsonl"]
    assert load(suite(source="hub:mteb/scifact@v1.0"), "f").datasets["mine"].own_files == []
    assert own_files.of_dataset("ir_datasets:antique") == []
    plain = load(suite(source="scifact"), "f").datasets["mine"]
    assert "mix" not in plain.decides, "names of collections that are there already hold"


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"source": "hub:./absent"}, "there is no folder ./absent; expected hub:<owner>/<name>"),
        (
            {"source": "hub:a b"},
            "expected hub:<owner>/<name>, as hub:mteb/scifact, or hub:<folder>, found 'hub:a b'",
        ),
        ({"source": "ir_datasets:"}, "expected ir_datasets:<name>, as ir_datasets:beir/scifact"),
        (
            {"mix": {"scifact": None}},
            "datasets.mine.mix: expected two sources or more, and no `source` beside them",
        ),
        ({"mix": {"scifact": None, "nothing": None}}, "datasets.mine.mix.nothing: unknown dataset 'nothing'"),
        (
            {"mix": {"scifact": None, "arguana": None}},
            "datasets.mine.mix.arguana: arguana has no training labels",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(dataset: dict, said: str) -> None:
    with pytest.raises(UserError) as error:
        load(suite(**dataset), "f")
    assert said in str(error.value)


def test_prefixes_are_known_apart() -> None:
    assert elsewhere.prefix_of("hub:mteb/scifact") == elsewhere.HUB
    assert elsewhere.prefix_of("./hub") is None
    assert elsewhere.short_name("ir_datasets:beir/scifact") == "beir/scifact"
