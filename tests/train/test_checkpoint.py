"""A run that is killed and started again ends as an unbroken one, and no checkpoint is taken that doesn't fit."""

import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builders import Bench
from killed_runs import killed, same
from negmark.methods import registry
from negmark.train import checkpoint as checkpoint_module

METHODS = ["inbatch", "random", "dense_topk", "dense_uniform", "simans"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def resumed_at(folder: Path):
    import json

    return json.loads((folder / "manifest.json").read_text())["resumed_at"]


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_equals_an_unbroken_one(bench, stop_at, tmp_path, method):
    spec = bench.spec(method, checkpoint_steps=3, weight_decay=0.1)
    whole = bench.train(tmp_path / "whole", spec)
    state = killed(bench, stop_at, tmp_path / "broken", spec, at=8)
    assert [path.name for path in state.iterdir()] == ["step-000000006"]
    assert not list((tmp_path / "broken").glob("seed-*"))
    taken = stop_at()
    broken = bench.train(tmp_path / "broken", spec)
    assert taken == [6, 7, 8, 9, 10, 11]
    assert resumed_at(broken) == 6
    assert resumed_at(whole) is None
    assert same(broken, whole)
    assert not state.exists()


def test_run_may_be_killed_twice(bench, stop_at, tmp_path):
    spec = bench.spec("simans", checkpoint_steps=2)
    whole = bench.train(tmp_path / "whole", spec)
    killed(bench, stop_at, tmp_path / "broken", spec, at=5)
    killed(bench, stop_at, tmp_path / "broken", spec, at=9)
    taken = stop_at()
    assert same(bench.train(tmp_path / "broken", spec), whole)
    assert taken == [8, 9, 10, 11]


def test_counters_go_on(bench, stop_at, tmp_path):
    import json

    spec = bench.spec("dense_topk", checkpoint_steps=5)
    whole = bench.train(tmp_path / "whole", spec)
    killed(bench, stop_at, tmp_path / "broken", spec, at=7)
    stop_at()
    broken = bench.train(tmp_path / "broken", spec)
    counters = [json.loads((folder / "manifest.json").read_text())["counters"] for folder in (whole, broken)]
    assert counters[0] == counters[1]


@pytest.mark.parametrize("change", [{"learning_rate": 0.02}, {"steps": 13}, {"checkpoint_steps": 6}])
def test_other_config_is_not_resumed(bench, stop_at, tmp_path, change, caplog):
    killed(bench, stop_at, tmp_path / "broken", bench.spec("simans", checkpoint_steps=3), at=8)
    spec = bench.spec("simans", **{"checkpoint_steps": 3, **change})
    taken = stop_at()
    with caplog.at_level(logging.WARNING):
        broken = bench.train(tmp_path / "broken", spec)
    assert taken[0] == 0
    assert "it belongs to another config or other code" in caplog.text
    assert same(broken, bench.train(tmp_path / "whole", spec))


@pytest.mark.parametrize("data", [("made otherwise", "0123abcd"), ("made of noise", "another key")])
def test_other_data_is_not_resumed(bench, stop_at, tmp_path, data):
    spec = bench.spec("simans", checkpoint_steps=3)
    killed(bench, stop_at, tmp_path / "broken", spec, at=8)
    taken = stop_at()
    bench.describe(*data)
    try:
        bench.train(tmp_path / "broken", spec)
    finally:
        bench.describe("made of noise", "0123abcd")
    assert taken[0] == 0


def test_other_pool_is_not_resumed(bench, stop_at, tmp_path, monkeypatch):
    spec = bench.spec("simans", checkpoint_steps=3)
    killed(bench, stop_at, tmp_path / "broken", spec, at=8)
    taken = stop_at()
    other = tmp_path / "pools-of-other-settings.safetensors"
    other.write_bytes(bench.pool.read_bytes())
    monkeypatch.setattr(bench, "pool", other)
    bench.train(tmp_path / "broken", spec)
    assert taken[0] == 0


def test_other_code_is_not_resumed(bench, stop_at, tmp_path, monkeypatch):
    spec = bench.spec("simans", checkpoint_steps=3)
    killed(bench, stop_at, tmp_path / "broken", spec, at=8)
    monkeypatch.setattr(checkpoint_module, "sources_sha256", lambda files: "another")
    taken = stop_at()
    bench.train(tmp_path / "broken", spec)
    assert taken[0] == 0


def test_key_follows_the_methods_own_file(bench, tmp_path, monkeypatch):
    hashed: list[list[str]] = []
    monkeypatch.setattr(checkpoint_module, "sources_sha256", lambda files: hashed.append(files) or "x")
    checkpoint_module.Checkpoint(tmp_path, bench.spec("simans"), 3)
    names = {Path(name).name for name in hashed[0]}
    assert {"train.py", "checkpoint.py", "losses.py", "simans.py"} <= names
    assert not {f"{name}.py" for name in registry.available()} & names - {"simans.py"}


@pytest.mark.parametrize("file", ["state.safetensors", "history.parquet", "ledger.parquet"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_damaged_checkpoint_is_ignored_and_the_run_starts_again(bench, stop_at, tmp_path, file, damage):
    spec = bench.spec("simans", checkpoint_steps=3)
    state = killed(bench, stop_at, tmp_path / "broken", spec, at=8)
    path = state / "step-000000006" / file
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-20] if damage == "truncated" else b"")
    taken = stop_at()
    broken = bench.train(tmp_path / "broken", spec)
    assert taken == list(range(12))
    assert resumed_at(broken) is None
    stop_at()
    assert same(broken, bench.train(tmp_path / "whole", spec))


@pytest.mark.parametrize(("damaged", "first"), [(True, 3), (False, 6)])
def test_newest_whole_checkpoint_counts(bench, stop_at, tmp_path, damaged, first):
    spec = bench.spec("simans", checkpoint_steps=3)
    state = killed(bench, stop_at, tmp_path / "broken", spec, at=5)
    kept = {path.name: path.read_bytes() for path in (state / "step-000000003").iterdir()}
    killed(bench, stop_at, tmp_path / "broken", spec, at=8)
    (state / "step-000000003").mkdir()  # as if the older one had not been removed yet
    for name, content in kept.items():
        (state / "step-000000003" / name).write_bytes(content)
    if damaged:
        (state / "step-000000006" / "state.safetensors").write_bytes(b"half")
    taken = stop_at()
    broken = bench.train(tmp_path / "broken", spec)
    assert taken[0] == first
    assert same(broken, bench.train(tmp_path / "whole", spec))


def test_half_written_checkpoint_leaves_the_older_one(bench, stop_at, tmp_path, monkeypatch):
    spec = bench.spec("simans", checkpoint_steps=3)
    whole, calls = checkpoint_module.write_table, []

    def killed_in_the_middle(path, columns):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(path, columns)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "write_table", killed_in_the_middle)
        with pytest.raises(KeyboardInterrupt):
            bench.train(tmp_path / "broken", spec)
    assert [path.name for path in (tmp_path / "broken" / "state" / "seed-0").iterdir()] == ["step-000000003"]
    taken = stop_at()
    broken = bench.train(tmp_path / "broken", spec)
    assert taken[0] == 3
    stop_at()
    assert same(broken, bench.train(tmp_path / "whole", spec))


def test_no_checkpoint_is_due_at_the_end(bench, stop_at, tmp_path, monkeypatch):
    saved = []
    whole = checkpoint_module.replacing_folder
    monkeypatch.setattr(
        checkpoint_module, "replacing_folder", lambda path: saved.append(path.name) or whole(path)
    )
    bench.train(tmp_path / "run", bench.spec("inbatch", checkpoint_steps=4))
    assert saved == ["step-000000004", "step-000000008"]
    rows = pq.read_table(tmp_path / "run" / "seed-0" / "history.parquet").column("negative_score").to_pylist()
    assert rows == [None] * 12
