"""What suites would make, planned without running anything."""

import copy
import json
import re
from pathlib import Path

from furnished import BM25, DENSE, suite
from tiny import BOARD, RUNS, SUITE, planned, scheduled, write_suite


def test_the_target_models_plans_one_export_a_row_with_vectors(bare: Path) -> None:
    methods = {**SUITE["methods"], "cross": {"method": "random", "tier": "rerank"}}
    write_suite(bare, {**SUITE, "methods": methods, "encoder": {**SUITE["encoder"], "reinit_top": 1}})
    told = planned(bare, "models", "--printshellcmds")
    commands = re.findall(r"python -m negmark\.share\.export .*", told.stdout + told.stderr)
    made = {command.split("--output ")[1] for command in commands}
    assert made == {
        f"results/models/tiny/pydoc/{method}/seed-0" for method in ("inbatch", "random", "simans")
    }
    assert len(commands) == 3
    assert all('"model":"results/warmups/pydoc-' in command for command in commands)
    assert not [path for path in scheduled(bare) if path.startswith("results/models")]


def test_the_target_negatives_plans_a_file_for_each_trainer_and_row_that_chooses_documents(
    bare: Path,
) -> None:
    write_suite(bare, {**SUITE, "methods": {**SUITE["methods"], "poisoned": None}})
    told = planned(bare, "negatives", "--printshellcmds")
    commands = re.findall(r"python -m negmark\.share\.negatives .*", told.stdout + told.stderr)
    made = {command.split("--output ")[1].split(" ")[0] for command in commands}
    names = ("triplets.jsonl", "tuples.jsonl", "tevatron.jsonl", "bge.jsonl", "dpr.jsonl", "run.trec")
    folders = [f"results/negatives/tiny/pydoc/{row}/seed-0" for row in ("random", "simans")]
    assert made == {f"{folder}/{name}" for folder in folders for name in names}
    one = f"{folders[0]}/bge.jsonl"
    told = planned(bare, one, "--printshellcmds")
    assert (told.stdout + told.stderr).count("python -m negmark.share.negatives") == 1


def test_the_card_reads_the_pools_that_rows_read(bare: Path) -> None:
    card = f"{BOARD}/cards/pydoc.json"
    config = {**SUITE, "methods": {"simans": {"depth": 10}}}
    write_suite(bare, {**config, "pools": {"depth": 10, "index": {"kind": "ivf", "cells": 8, "probes": 2}}})
    told = planned(bare, card, "--printshellcmds")
    text = told.stdout + told.stderr
    assert "rule dense_pool:" in text
    assert "python -m negmark.board.card --pool results/pools/pydoc-" in text
    write_suite(bare, {**config, "methods": {"inbatch": None}})
    told = planned(bare, card, "--printshellcmds")
    assert "rule dense_pool:" not in told.stdout + told.stderr
    assert "--pool" not in told.stdout + told.stderr


def test_a_board_is_rebuilt_from_its_manifest_with_runs_of_its_own(project: Path) -> None:
    path = project / BOARD / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["suite"]["tuned"] = False
    path.write_text(json.dumps(manifest))
    options = ("--config", "reproduce=tiny", "--rerun-triggers", "mtime")  # a manifest does not name shards
    made = scheduled(project, "reproduce", *options, config=None)
    runs = {path for path in made if path.startswith("results/runs/")}
    assert {Path(path).parts[2] for path in runs} == {"tiny-reproduced"}
    trained = {path for path in runs if path.endswith("model.safetensors")}
    assert {tuple(Path(path).parts[3:6]) for path in trained} == {
        ("pydoc", row, "seed-0") for row in suite()["methods"]
    }  # both seeds in one job
    evaluated = {tuple(Path(path).parts[3:5]) for path in runs - trained}
    baselines = {"untrained", "bm25_search"}
    assert {row for dataset, row in evaluated if dataset == "pydoc"} == {*suite()["methods"], *baselines}
    elsewhere = ("results/runs/", "results/gates/tiny-reproduced/", "results/reproduced/tiny/")
    assert {path for path in made if not path.startswith(elsewhere)} == set()


def test_tiers_are_compared_where_they_have_three_methods_in_common(bare: Path) -> None:
    figure = f"{BOARD}/figures/pydoc-tiers.svg"
    methods = {**SUITE["methods"], "inbatch_finetune": {"method": "inbatch", "tier": "finetune"}}
    methods["random_finetune"] = {"method": "random", "tier": "finetune"}
    other = {**SUITE["methods"]["simans"], "method": "simans", "tier": "finetune"}
    write_suite(bare, {**SUITE, "methods": {**methods, "other_finetune": {**other, "a": 2.0}}})
    assert figure not in scheduled(bare), "SimANS has other parameters"
    write_suite(bare, {**SUITE, "methods": {**methods, "other_finetune": other}})
    assert figure in scheduled(bare)


def test_trials_are_trained_and_never_evaluated_on_test(bare: Path) -> None:
    config = copy.deepcopy(SUITE)
    config["datasets"]["pydoc"]["dev_queries"] = 40
    config["tuning"] = {"rates": [1.0, 3.0], "methods": ["inbatch", "simans"]}
    write_suite(bare, config)
    made, tried = scheduled(bare, "tune"), "results/trials/tiny/pydoc"
    assert {path for path in made if path.startswith("results/trials/")} == {
        f"{tried}/grid.json",
        *(f"{tried}/{row}/{stage}.json" for row in ("inbatch", "simans") for stage in ("rates", "values")),
    }
    assert not [path for path in made if path.startswith(f"{RUNS}/")]
    assert {path for path in made if path.startswith(f"{BOARD}/")} == {f"{BOARD}/tuned.json"}
    assert not [path for path in scheduled(bare) if "results/trials/" in path], "a board needs no trials"


def test_a_suite_without_rows_trains_nothing_and_measures_its_gates(bare: Path) -> None:
    encoder, gates = {**SUITE["encoder"], "query_length": 32}, {"words": BM25, "vectors": DENSE}
    write_suite(bare, {**SUITE, "methods": {}, "encoder": encoder, "gates": gates})
    made = scheduled(bare)
    assert {path for path in made if path.startswith(f"{BOARD}/")} >= {
        f"{BOARD}/gates.csv",
        f"{BOARD}/cards/pydoc.json",
    }
    assert not [path for path in made if path.endswith("model.safetensors") or "leaderboard.csv" in path]
