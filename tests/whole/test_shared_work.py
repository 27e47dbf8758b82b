"""A suite whose encoding and search are shared among jobs ends with the same bytes as one that shares nothing."""

import copy
from pathlib import Path

from builders import tiny_model
from tiny import SUITE, copy_project, scheduled, snakemake, write_suite

RESULTS = ("embeddings/*/*/*.npy", "pools/*/*/*/*.safetensors", "runs/tiny/pydoc/*/*/metrics.json")


def test_sharing_changes_no_result(tmp_path: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite |= {"methods": {"simans": {"depth": 10}, "bm25": None}, "seeds": [0]}
    found = []
    for name, shards in (("whole", {}), ("shared", {"encode": 3, "documents": 2, "queries": 2})):
        folder = tmp_path / name
        copy_project(folder)
        tiny_model(folder / "encoder")
        suite["encoder"]["model"] = "./encoder"
        write_suite(folder, {**suite, "shards": shards})
        told = snakemake(folder)
        results = folder / "results"
        files = sorted(path for pattern in RESULTS for path in results.glob(pattern))
        found.append({str(path.relative_to(results)): path.read_bytes() for path in files})
    assert "pool_part" in told.stdout + told.stderr
    assert len(found[0]) == 2 + 2 + 2
    assert found[0] == found[1]
    assert [*results.glob("**/parts/*"), *results.glob("**/*-parts/*/*")] == [], "parts are not kept"
    assert scheduled(folder) == set()
