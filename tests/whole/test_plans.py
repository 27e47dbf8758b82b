"""What a change of the suite would make: the plan, without running it."""

import re
from pathlib import Path

from tiny import SUITE, copy_project, scheduled, snakemake, write_suite


def test_the_target_models_plans_one_export_a_row_with_vectors(tmp_path):
    copy_project(tmp_path)
    methods = {**SUITE["methods"], "cross": {"method": "random", "tier": "rerank"}}
    write_suite(tmp_path, {**SUITE, "methods": methods, "encoder": {**SUITE["encoder"], "reinit_top": 1}})
    told = snakemake(tmp_path, "models", "--dry-run", "--printshellcmds")
    commands = re.findall(r"python -m negmark\.share\.export .*", told.stdout + told.stderr)
    planned = {command.split("--output ")[1] for command in commands}
    wanted = {f"results/models/tiny/pydoc/{method}/seed-0" for method in ("inbatch", "random", "simans")}
    assert planned == wanted
    assert len(commands) == 3
    assert all('"model":"results/warmups/pydoc-' in command for command in commands)
    assert not [path for path in scheduled(tmp_path) if path.startswith("results/models")]


def test_the_card_reads_the_pool_where_its_index_is_approximate(tmp_path: Path) -> None:
    copy_project(tmp_path)
    write_suite(
        tmp_path,
        {
            **SUITE,
            "methods": {"simans": {"depth": 10}},
            "pools": {"depth": 10, "index": {"kind": "ivf", "cells": 8, "probes": 2}},
        },
    )
    told = snakemake(tmp_path, "results/leaderboards/tiny/cards/pydoc.json", "--dry-run", "--printshellcmds")
    text = told.stdout + told.stderr
    assert "rule dense_pool:" in text
    assert "python -m negmark.board.card --pool results/pools/pydoc-" in text
    write_suite(tmp_path, {**SUITE, "methods": {"simans": {"depth": 10}}})
    told = snakemake(tmp_path, "results/leaderboards/tiny/cards/pydoc.json", "--dry-run", "--printshellcmds")
    assert "rule dense_pool:" not in told.stdout + told.stderr
