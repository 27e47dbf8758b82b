"""What a stage loads before it works: `import torch` takes 3 seconds, and a suite starts some hundred processes."""

import subprocess
import sys

import pytest

HEAVY = "faiss,torch,transformers,wandb"
LOADER = """
import importlib, sys
for stage in sys.argv[2:]:
    importlib.import_module(stage)
    from negmark.methods import registry
    registry.available()
    if found := sorted({*sys.argv[1].split(",")} & {*sys.modules}):
        sys.exit(f"{stage} loads {', '.join(found)}")
"""
START = (
    "negmark.suite.open",
    "negmark.suite.layout",
    "negmark.advise.asked",
    "negmark.run.suite_run",
    "negmark.plan.jobs",
)
"""What Snakemake's own process imports."""
STAGES = (
    "negmark.board.card", "negmark.board.leaderboard", "negmark.board.manifest", "negmark.board.study",
    "negmark.compare.claims", "negmark.compare.differences", "negmark.compare.tune", "negmark.data.prepare",
    "negmark.evaluate.audit", "negmark.evaluate.evaluate", "negmark.evaluate.foresight", "negmark.evaluate.gates",
    "negmark.search.candidates", "negmark.share.track",
)  # fmt: skip
"""Stages that neither train nor encode."""


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [(START, f"{HEAVY},matplotlib,pandas,pooch,scipy"), (STAGES, HEAVY)],
    ids=["start", "stages"],
)
def test_nothing_heavy_is_loaded_where_nothing_is_trained(modules: tuple[str, ...], heavy: str) -> None:
    command = [sys.executable, "-c", LOADER, heavy, *modules]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
