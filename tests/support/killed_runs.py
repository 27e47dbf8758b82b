"""Runs that are killed and started again, and what they have to end with."""

from pathlib import Path

import pytest

OUTPUTS = ("model.safetensors", "history.parquet", "negatives.parquet", "scores.parquet")


def killed(bench, stop_at, folder: Path, spec, at: int) -> Path:
    stop_at(at)
    with pytest.raises(KeyboardInterrupt):
        bench.train(folder, spec)
    return folder / "state" / f"seed-{spec['seed']}"


def same(one: Path, two: Path) -> bool:
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in OUTPUTS)
