"""A plan's arithmetic by hand: jobs out of a dry run, seconds out of sizes, wall time on so many cores."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from negmark.core.errors import UserError
from negmark.methods.types import Work
from negmark.plan import durations, jobs, plan
from negmark.plan.durations import Encoding, Machine, RowCost
from negmark.plan.jobs import Done, Job
from negmark.plan.machine import Network
from negmark.plan.plan import Planner
from negmark.plan.sizes import Size, size_of
from negmark.suite.checks import load
from negmark.suite.layout import Layout

DRY_RUN = """Building DAG of jobs...
Job stats:
job      count
-----  -------
total        3

[Mon Nov 23 15:11:21 2026]
rule train_0_1:
    input: a, b
    output: results/runs/s/d/simans/seed-0/model.safetensors, results/x
    log: results/logs/x.log
    jobid: 6
    reason: Missing output files: results/x; Input files updated by another job: a
    wildcards: suite=s, dataset=d, row=simans
    threads: 4
    resources: tmpdir=/tmp, runtime=720, mem_mb=4000, mem=4 GB, mem_mib=3815, gpu=2

[Mon Nov 23 15:11:21 2026]
localrule all:
    input: y
    jobid: 0
    reason: Rules with neither input nor output files are always executed.
    resources: tmpdir=/tmp

[Mon Nov 23 15:11:21 2026]
group job measured (jobs in lexicogr. order):
    [Mon Nov 23 15:11:21 2026]
    rule evaluate_0:
        input: a
        output: results/runs/s/d/simans/seed-0/metrics.json
        wildcards: suite=s, dataset=d, row=simans
        resources: tmpdir=/tmp, mem_mb=2500, gpu=0

[Mon Nov 23 15:11:21 2026]
localrule manifest:
    output: z
    jobid: 1
"""
SIZE = Size(documents=1000, train=100, test=50, document_tokens=98.0, query_tokens=8.0, source="a hand")
HOW = Encoding(query_length=32, document_length=64, dimension=16)
MACHINE = Machine(
    start={"torch": 4.0, "light": 2.0, "figures": 3.0}, tokens=1000.0, products=1e6, texts=500.0, indexed=100.0,
    scored=1e4, rows={"simans": RowCost((1.0, 0.001), (2.0, 0.0), (0.5, 0.0))}, cores=2,
)  # fmt: skip


def test_jobs_of_a_dry_run() -> None:
    assert jobs.parsed(DRY_RUN) == [
        Job("train_0_1", {"suite": "s", "dataset": "d", "row": "simans"}, 4, 4000, 2),
        Job("evaluate_0", {"suite": "s", "dataset": "d", "row": "simans"}, 1, 2500),
        Job("manifest", {}),
    ]


def test_what_snakemake_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        jobs.subprocess,
        "run",
        lambda *_, **__: SimpleNamespace(returncode=1, stdout="", stderr="error: no\n"),
    )
    with pytest.raises(UserError, match="Snakemake finds no plan: error: no"):
        jobs.planned({}, 2)


def test_records_of_a_job_are_one(tmp_path: Path) -> None:
    for output, began, ended in (("results/a", 10.0, 15.0), ("results/b", 10.1, 15.2)):
        told = {"rule": "r", "log": ["l"], "starttime": began, "endtime": ended}
        (tmp_path / base64.b64encode(output.encode()).decode()).write_text(json.dumps(told))
    (tmp_path / "broken").write_text("{")
    (found,) = jobs.done(tmp_path)
    assert (found.rule, found.began, found.ended) == ("r", 10.0, 15.2)
    assert jobs.done(tmp_path / "absent") == []


def test_seconds_of_stages() -> None:
    assert durations.dataset_seconds(SIZE, MACHINE) == 2 + 1150 / 500
    assert durations.corpus_tokens(SIZE, HOW) == (64_000, 1_500)
    assert durations.embeddings_seconds(SIZE, HOW, MACHINE) == 4 + 65.5
    assert durations.dense_pool_seconds(SIZE, HOW, MACHINE) == pytest.approx(2 + 1.6)
    assert durations.bm25_pool_seconds(SIZE, MACHINE) == pytest.approx(2 + 10 + 10)
    budget = {"steps": 100, "batch_size": 4, "negatives": 2}
    seconds = durations.train_seconds(SIZE, HOW, MACHINE, "simans", budget, Work(3, 400), "adapter")
    assert seconds == pytest.approx(1 + 1 + 100 * 0.5 + 3 * 1.5)
    # three times the tokens of 100 steps of 4 queries of 10 tokens, each with 3 documents of 64
    seconds = durations.train_seconds(SIZE, HOW, MACHINE, "simans", budget, Work(), "finetune")
    assert seconds == pytest.approx(3 * 100 * 4 * (10 + 3 * 64) / 1000)
    # the corpus twice, and 400 queries searched on one of the two cores
    more = durations.train_seconds(SIZE, HOW, MACHINE, "simans", budget, Work(2, 400), "finetune")
    assert more - seconds == pytest.approx(2 * 65_500 / 1000 + 400 * 1000 * 16 / 0.5e6)
    gpu = replace(MACHINE, own_products=4e6)
    on_gpu = durations.train_seconds(SIZE, HOW, gpu, "simans", budget, Work(2, 400), "finetune")
    assert more - on_gpu == pytest.approx(400 * 1000 * 16 * (1 / 0.5e6 - 1 / 4e6))
    seconds = durations.train_seconds(SIZE, HOW, MACHINE, "simans", budget, Work(), "rerank")
    assert seconds == pytest.approx(3 * 100 * 4 * 3 * (10 + 64) / 1000)


def test_what_methods_say_of_their_corpus_is_planned() -> None:
    """Between rows of one method that differ in how often they encode: the encodings; searches are those of all."""
    rows = {f"every_{every}": {"method": "adore", "refresh_steps": every} for every in (1, 50)}
    config = {
        "suite": "s", "tier": "finetune", "datasets": {"msmarco": None}, "methods": {**rows, "dense_topk": None},
        "finetune": {"steps": 100, "batch_size": 4, "negatives": 2},
    }  # fmt: skip
    planner = Planner(Layout(load(config, "a test")), MACHINE, Network(16, 70_000, 50_000, True))
    often, seldom, never = (
        planner.estimate(Job("train_0", {"dataset": "msmarco", "row": row})).seconds
        for row in ("every_1", "every_50", "dense_topk")
    )
    size = planner.size(planner._layout.datasets["msmarco"])
    corpus = sum(durations.corpus_tokens(size, planner._how)) / 1000
    assert often - seldom == pytest.approx(98 * corpus)
    assert seldom - never == pytest.approx(2 * corpus + 400 * 8_841_823 * 16 / 0.5e6)


def test_queries_that_are_encoded_to_put_batches_together_are_planned() -> None:
    """Of 1,000 queries 100 batches of 4 reach 400: all of them at first, then what is left, 360, 320 ... 40."""
    rows = {
        "often": {"method": "ngame", "refresh_steps": 10},
        "once": {"method": "ngame", "refresh_steps": 100},
    }
    config = {
        "suite": "s", "tier": "finetune", "datasets": {"msmarco": {"train_queries": 1000}},
        "methods": {**rows, "inbatch": None, "lent": {"method": "random", "composer": "often"}, "random": None},
        "finetune": {"steps": 100, "batch_size": 4, "negatives": 2},
    }  # fmt: skip
    planner = Planner(Layout(load(config, "a test")), MACHINE, Network(16, 70_000, 50_000, True))
    seconds = {
        row: planner.estimate(Job("train_0", {"dataset": "msmarco", "row": row})).seconds
        for row in config["methods"]
    }
    size = planner.size(planner._layout.datasets["msmarco"])
    query = min(size.query_tokens + 2, planner._how.query_length) / 1000
    assert seconds["once"] - seconds["inbatch"] == pytest.approx(400 * query)
    assert seconds["often"] - seconds["inbatch"] == pytest.approx((400 + 9 * 200) * query)
    assert seconds["lent"] - seconds["random"] == pytest.approx((400 + 9 * 200) * query)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("train_0", "train"),
        ("evaluate_0_1", "evaluate"),
        ("evaluate_baseline", "evaluate_baseline"),
        ("card", "card"),
    ],
)
def test_kinds_of_rules(rule: str, kind: str) -> None:
    assert plan.kind_of(rule) == kind


def test_wall_time() -> None:
    def job(kind: str, seconds: float, cores: int = 1) -> plan.Estimate:
        return plan.Estimate(Job(kind, {}), kind, seconds, cores)

    found = [job("dataset", 10.0), job("embeddings", 20.0, 2), *[job("train", 30.0)] * 3, job("figures", 5.0)]
    assert plan.wall_seconds(found, 1) == plan.SNAKEMAKE_S + 10 + 20 + 90 + 5
    assert plan.wall_seconds(found, 2) == plan.SNAKEMAKE_S + 10 + 20 + 60 + 5
    assert plan.wall_seconds(found, 64) == plan.SNAKEMAKE_S + 10 + 20 + 30 + 5


def test_a_stage_is_a_line_of_the_table() -> None:
    found = [
        plan.Estimate(Job("train_0", {}, 2, 4000), "train", 1800.0, 2, 1.5e9),
        plan.Estimate(Job("train_1", {}, 2, 6000), "train", 3600.0, 2, 1.5e9),
        plan.Estimate(Job("card", {}, 1, 500), "card", 36.0, 1),
    ]
    lines = [" ".join(line.split()) for line in plan.table(found, gpu=False).splitlines()]
    assert lines[0] == "stage jobs core hours longest job memory asked disk"
    assert lines[2:] == [
        "train 2 3.00 1:00:00 6,000 MB 3.00 GB",
        "card 1 0.01 0:36 500 MB",
        "total 3 3.01 3.00 GB",
    ]


def test_a_plan_is_held_against_what_was_measured() -> None:
    told = {"suite": "s", "made": 100.0, "jobs": 2}
    seen = [
        Done("results/datasets/d/x", "dataset", 90.0, 95.0),
        Done("results/runs/s/d/m", "train_0", 110.0, 150.0),
        Done("results/runs/other/d/m", "train_0", 110.0, 190.0),
        Done("results/tracking/s.json", "track", 150.0, 160.0),
    ]
    assert plan.measured(told, seen) == (2, 50.0)
    assert plan.measured({**told, "jobs": 3}, seen) is None


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "' + "x" * 430 + '"}\n' * 1)
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "why"}\n')
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n1\t2\t1\n")
    (tmp_path / "qrels" / "dl20.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n2\t1\t1\n")
    mine = {"source": str(tmp_path)}
    found = size_of("mine", mine, tmp_path / "card.json")
    assert (found.documents, found.train, found.test) == (1, 1, 0)
    assert size_of("mine", {**mine, "test_split": "dl20"}, tmp_path / "card.json").test == 2
    assert 80 < found.document_tokens < 110
    msmarco = {"source": "msmarco", "test_split": "dev", "train_queries": None}
    known = size_of("msmarco", msmarco, tmp_path / "card.json")
    assert (known.documents, known.train, known.test) == (8_841_823, 502_939, 6_980)
    assert size_of("msmarco", {**msmarco, "documents": 10}, tmp_path / "card.json").documents == 10
    dl19 = size_of("dl19", {"source": "msmarco", "test_only": True}, tmp_path / "card.json")
    assert (dl19.train, dl19.test) == (0, 43)
    with pytest.raises(UserError, match="its size is unknown; prepare it first"):
        size_of("mine", {"source": "./absent"}, tmp_path / "card.json")


def test_trials_of_tuning_are_counted() -> None:
    """Rates x seeds, then the four values that are not the row's own x seeds; searches of 500 dev queries."""
    config = {
        "suite": "s",
        "datasets": {"msmarco": None},
        "training": {"steps": 100, "batch_size": 4, "negatives": 2},
        "methods": {"simans": None, "inbatch": None},
        "tuning": {"rates": [0.5, 1, 2]},
    }
    planner = Planner(Layout(load(config, "a test")), MACHINE, Network(16, 70_000, 50_000, True))
    first, second = (
        Job(rule, {"dataset": "msmarco", "row": "simans"}) for rule in ("try_rates", "try_values")
    )
    assert (planner.trials(first), planner.trials(second)) == (3 * 3, 4 * 3)
    assert planner.trials(Job("try_values", {"dataset": "msmarco", "row": "inbatch"})) == 0
    assert planner.trials(Job("train_0", {"dataset": "msmarco", "row": "simans"})) == 0
    documents = 8_841_823
    trained = (1 + 0.001 * documents) + 0.5 * 100 + 1.5
    searched = (documents * 16**2 + 500 * documents * 16) / 1e6 * 2
    expected = 4 + 9 * (trained + searched) + plan.JOB_S
    assert planner.estimate(first).seconds == pytest.approx(expected)
