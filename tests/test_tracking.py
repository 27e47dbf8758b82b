"""W&B is fed from the record; what goes wrong there goes into the receipt and stops nothing."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow import tracking
from workflow.contents import Contents

SECRET = "planted-secret-1234567890abcdef1234567890"
CONTENTS = Contents(suite="s", cards={"made": "card.json"}, methods=["random"], seeds=[0, 1])
RECEIPT = Path("results/wandb/s.json")


@pytest.fixture
def runs(tmp_path, monkeypatch) -> list[Path]:
    """Two runs with 25 steps each, as the stages leave them."""
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HOME", str(tmp_path))
    for seed, run in enumerate(CONTENTS.runs()):
        run.mkdir(parents=True)
        about = {"suite": "s", "dataset": "made", "method": "random", "seed": seed, "training": {"steps": 25}}
        manifest = {
            "run": about,
            "cost": {"training": {"wall_seconds": 1.625}},
            "counters": {"query_vectors": 400},
        }
        (run / "manifest.json").write_text(json.dumps(manifest))
        metrics = {
            "slices": {"all": {"queries": 3, "nDCG@10": 0.578125}, "unseen": {"queries": 2, "nDCG@10": 0.25}}
        }
        (run / "metrics.json").write_text(json.dumps(metrics))
        history = {
            "step": list(range(25)),
            "loss": [1 / (step + 2) for step in range(25)],
            "negative_score": [None] * 25,
        }
        pq.write_table(pa.table(history), run / "history.parquet")
    return CONTENTS.runs()


def track(**settings) -> dict:
    options = {"mode": "offline", "project": "negbench", "every": 10, **settings}
    tracking.main(CONTENTS.model_dump_json(), json.dumps(options), RECEIPT)
    return json.loads(RECEIPT.read_text())


class FakeRun:
    def __init__(self, options):
        self.options, self.points, self.summary, self.finished = options, [], {}, 0

    def log(self, values, step):
        self.points.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.fixture
def fake(monkeypatch) -> list[FakeRun]:
    import wandb

    made: list[FakeRun] = []

    def init(**options):
        made.append(FakeRun(options))
        return made[-1]

    monkeypatch.setattr(wandb, "init", init)
    return made


def test_offline_runs_lie_in_files_and_the_receipt_says_sent(runs, tmp_path):
    receipt = track()
    assert receipt["mode"] == "offline"
    assert [entry.get("reason") for entry in receipt["runs"]] == [None, None]
    assert [(entry["run"], entry["sent"]) for entry in receipt["runs"]] == [(str(run), True) for run in runs]
    files = sorted(Path("results/wandb").rglob("run-*.wandb"))
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        for word in (
            b"test/unseen/nDCG@10",
            b"0.578125",
            b"train_seconds",
            b"1.625",
            b"loss",
            b"query_vectors",
        ):
            assert word in content
        assert b"negative_score" not in content
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path


def test_points_and_summary_by_hand(runs, fake):
    track(every=10, project="mine")
    assert len(fake) == 2
    first = fake[0]
    assert [step for step, _ in first.points] == [0, 10, 20, 24]
    assert first.points[1] == (10, {"loss": 1 / 12})
    assert first.summary == {
        "test/all/queries": 3, "test/all/nDCG@10": 0.578125, "test/unseen/queries": 2, "test/unseen/nDCG@10": 0.25,
        "train_seconds": 1.625, "query_vectors": 400,
    }  # fmt: skip
    assert [run.finished for run in fake] == [1, 1]
    assert (first.options["project"], first.options["mode"]) == ("mine", "offline")
    assert first.options["name"] == "made random seed 0"
    assert first.options["config"]["seed"] == 0
    assert first.options["settings"].x_disable_stats


def test_same_run_has_the_same_identity(runs, fake):
    track()
    track()
    identities = [run.options["id"] for run in fake]
    assert identities[:2] == identities[2:]
    assert len(set(identities)) == 2


def test_broken_wandb_is_told_in_the_receipt_and_stops_nothing(runs, monkeypatch):
    import wandb

    def refuse(**options):
        raise wandb.errors.CommError("no route to the server")

    monkeypatch.setattr(wandb, "init", refuse)
    receipt = track(mode="online")
    for entry in receipt["runs"]:
        assert entry["sent"] is False
        assert entry["reason"] == "CommError: no route to the server"
    assert SECRET not in RECEIPT.read_text()


def test_one_broken_run_leaves_the_others_sent(runs, fake):
    (runs[0] / "history.parquet").write_bytes(b"broken")
    receipt = track()
    assert [entry["sent"] for entry in receipt["runs"]] == [False, True]
    assert "reason" in receipt["runs"][0]
    assert [run.finished for run in fake] == [1, 1]  # also the broken one is closed
    (runs[1] / "manifest.json").unlink()
    receipt = track()
    assert "there is no such file" in receipt["runs"][1]["reason"]


def test_missing_wandb_is_told_in_the_receipt(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert [entry["sent"] for entry in track()["runs"]] == [False, False]
    assert RECEIPT.read_text().count("reason") == 2


def test_disabled_wandb_is_not_even_imported(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert track(mode="disabled") == {"mode": "disabled", "runs": []}
    assert [path.name for path in Path("results/wandb").iterdir()] == ["s.json"]


def test_failure_is_told_at_the_terminal(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv("NEGBENCH_LOG", "log")
    track()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("  wandb (offline): 0 runs in ")
    assert "warning: 2 runs were not sent to W&B (ModuleNotFoundError" in lines[1]
    assert "delete the receipt under results/wandb and run again" in lines[1]
