"""Files that were cut off are told by their own format, at the cost of a look at their ends."""

import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from negmark.core.files import write_json
from negmark.core.integrity import damage, damaged
from negmark.evaluate.evaluate import write_run


def write_npy(path: Path) -> None:
    np.save(path, np.arange(600, dtype=np.float32).reshape(200, 3))


def write_safetensors(path: Path) -> None:
    save_file({"a": np.arange(300.0), "b": np.ones((4, 5), np.float32)}, path, metadata={"key": "value"})


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"query": list(range(500)), "score": np.linspace(0, 1, 500)}), path)


def write_trec(path: Path) -> None:
    rng = np.random.default_rng(0)
    run = {
        f"q{query}": {f"d{rng.integers(10**6)}": float(rng.random()) for _ in range(100)}
        for query in range(30)
    }
    write_run(path, run, "simans")


WRITERS = {
    "documents.npy": write_npy,
    "model.safetensors": write_safetensors,
    "negatives.parquet": write_parquet,
    "metrics.json": lambda path: write_json(path, {"slices": {"all": {"nDCG@10": 0.5}}, "name": "x" * 300}),
    "run.trec.gz": write_trec,
}
CUTS = {"by a byte": lambda size: size - 1, "by half": lambda size: size // 2, "to nothing": lambda size: 0}
LIMIT_S = 3.0


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_cut_file_is_found_and_a_whole_one_is_not(tmp_path: Path, name: str, cut: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    assert damage(path) is None
    os.truncate(path, CUTS[cut](path.stat().st_size))
    assert damage(path)


@pytest.mark.parametrize("name", WRITERS)
def test_any_cut_of_a_file_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    places = np.random.default_rng(1).choice(len(content), size=min(len(content), 300), replace=False)
    missed = []
    for size in places.tolist():
        path.write_bytes(content[:size])
        if not damage(path):
            missed.append(size)
    allowed = 1 if name.endswith(".gz") else 0  # one cut in a thousand looks like a length
    assert len(missed) <= allowed, f"{missed} of {len(content)} bytes"


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_such_file_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"no such file at all", b"\x00" * 5000, b"\xff" * 5000):
        path.write_bytes(content)
        assert damage(path)


def test_a_longer_file_than_its_header_says_is_damaged(tmp_path: Path) -> None:
    for name in ("documents.npy", "model.safetensors"):
        path = tmp_path / name
        WRITERS[name](path)
        with path.open("ab") as stream:
            stream.write(b"more")
        assert "instead of" in (damage(path) or "")


def test_odd_files_that_are_whole_stay(tmp_path: Path) -> None:
    write_run(tmp_path / "empty.gz", {}, "x")
    (tmp_path / "same.gz").write_bytes(gzip.compress(b"a" * 10**6))  # packs to a thousandth
    (tmp_path / "short.gz").write_bytes(gzip.compress(b"a"))
    np.save(tmp_path / "none.npy", np.empty((0, 7)))
    np.save(tmp_path / "one.npy", np.float64(1.0))
    save_file({}, tmp_path / "none.safetensors")
    (tmp_path / "leaderboard.csv").write_text("a,b\n")
    assert damaged(tmp_path.iterdir()) == {}


def test_a_file_that_is_not_there_is_no_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.md").touch()
    found = damaged([tmp_path / "absent.json", tmp_path / "leaderboard.md", tmp_path])
    assert found == {tmp_path / "leaderboard.md": "it is empty"}


def test_twelve_thousand_files_take_less_than_three_seconds(tmp_path: Path) -> None:
    manifest = {"packages": {f"package-{number}": "1.2.3" for number in range(150)}, "more": ["x" * 50] * 60}
    for name, write in WRITERS.items():
        write(tmp_path / name)
    write_json(tmp_path / "manifest.json", manifest)
    paths = []
    for number in range(2000):
        (tmp_path / str(number)).mkdir()
        for name in (*WRITERS, "manifest.json"):
            paths.append(tmp_path / str(number) / name)
            paths[-1].hardlink_to(tmp_path / name)
    started = time.process_time()
    assert damaged(paths) == {}
    took = time.process_time() - started
    assert len(paths) == 12_000
    assert took < LIMIT_S, f"{took:.1f} s of CPU"
    assert len(json.loads((tmp_path / "manifest.json").read_text())["packages"]) == 150
