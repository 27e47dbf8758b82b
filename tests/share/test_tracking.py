"""W&B is fed from the record; what goes wrong there goes into the receipt and stops nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negmark.share import track as tracking
from negmark.store.contents import Contents

SECRET = "planted-secret-1234567890abcdef1234567890"
CONTENTS = Contents(
    suite="s", cards={"made": "card.json", "away": "other.json"}, methods=["random"], seeds=[0, 1],
    sentences=["away"], homes={"away": "made"},
)  # fmt: skip
RUNS = CONTENTS.runs("made")
EVALUATED = [*CONTENTS.runs("away"), *CONTENTS.baselines()]
RECEIPT = Path("results/tracking/s.json")
BOARD = Path("results/leaderboards/s")
TABLE = """dataset,rank,method,seeds,nDCG@10/unseen/mean,train_seconds,paper
made,1,random,2,0.25,1.625,"Somebody, 2020"
made,,untrained,,0.125,,
"""


@pytest.fixture
def runs(tmp_path, monkeypatch) -> list[Path]:
    """Two trained runs of 25 steps, what was evaluated elsewhere, baselines and a board, as the stages leave them."""
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_DISABLED", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "")  # so that what a test leaves is taken away again
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HOME", str(tmp_path))
    for seed, run in enumerate(RUNS):
        about = {"suite": "s", "dataset": "made", "method": "random", "seed": seed, "training": {"steps": 25}}
        manifest = {
            "run": about,
            "cost": {"training": {"wall_seconds": 1.625}},
            "counters": {"query_vectors": 400},
        }
        write(run / "manifest.json", manifest)
        write_metrics(run, {"dataset": "made", "method": "random", "seed": seed}, 0.25)
        history = {
            "step": list(range(25)),
            "loss": [1 / (step + 2) for step in range(25)],
            "negative_score": [None] * 25,
        }
        pq.write_table(pa.table(history), run / "history.parquet")
        kinds = ["positive"] * 4 + ["negative"] * 2
        scores = {
            "step": np.repeat(np.array([0, 24], np.int32), 6),
            "kind": kinds * 2,
            "score": np.array([0, 0, 0, 64, 1, 2, 5, 5, 5, 5, np.nan, np.nan], np.float32),
        }
        pq.write_table(pa.table(scores), run / "scores.parquet")
        (run / "model.safetensors").write_bytes(b"weights of %d" % seed)
    for run in CONTENTS.runs("away"):
        seed = int(run.name[-1])
        write_metrics(
            run, {"dataset": "away", "method": "random", "seed": seed, "trained_on": "made"}, 0.0625
        )
    for run in CONTENTS.baselines():
        write_metrics(run, {"dataset": run.parent.name, "method": run.name, "seed": None}, 0.125)
    BOARD.mkdir(parents=True)
    (BOARD / "leaderboard.csv").write_text(TABLE)
    (BOARD / "leaderboard.html").write_text("<p>the board</p>")
    return RUNS


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_metrics(run: Path, about: dict[str, Any], value: float) -> None:
    slices = {"all": {"queries": 3, "nDCG@10": 0.578125}, "unseen": {"queries": 2, "nDCG@10": value}}
    write(run / "metrics.json", {"suite": "s", **about, "status": "ok", "slices": slices})


def track(receipt: Path = RECEIPT, folder: Path | None = None, **settings) -> dict:
    options = {"mode": "offline", "project": "negmark", "every": 10, "models": False, **settings}
    tracking.main(CONTENTS.model_dump_json(), json.dumps(options), receipt, folder)
    return json.loads(receipt.read_text())


def read(entry: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The records of an offline run by their type, as W&B's own reader gives them."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", entry["folder"]]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found: dict[str, list[dict[str, Any]]] = {}
    for line in told.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def summary(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {key: value for record in records["summary"] for key, value in record.get("update", {}).items()}


class FakeRun:
    def __init__(self, options):
        self.options, self.points, self.summary, self.finished = options, [], {}, 0
        self.metrics, self.artifacts = {}, []
        self.dir = str(Path("results/wandb") / f"offline-run-{options['id']}" / "files")

    def define_metric(self, name, **options):
        self.metrics[name] = options

    def log(self, values):
        self.points.append(values)

    def log_artifact(self, artifact):
        self.artifacts.append(artifact)

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


def test_offline_runs_are_what_was_measured(runs, tmp_path):
    """Read back by W&B's own reader."""
    receipt = track()
    assert receipt["mode"] == "offline"
    assert [entry.get("reason") for entry in receipt["runs"]] == [None] * 7
    assert [entry["run"] for entry in receipt["runs"]] == [str(run) for run in [*runs, *EVALUATED]]
    assert len(list(Path("results/wandb").glob("offline-run-*"))) == 7

    trained = read(receipt["runs"][1])
    about = trained["run"][0]
    assert (about["run_group"], about["job_type"]) == ("s/made", "train")
    assert about["display_name"] == "made random seed 1"
    found = summary(trained)
    assert (found["test/unseen/nDCG@10"], found["test/all/queries"]) == (0.25, 3)
    assert (found["train_seconds"], found["query_vectors"]) == (1.625, 400)
    points = [record["item"] for record in trained["history"]]
    assert [point["train/step"] for point in points] == [0, 10, 20, 24]
    assert [point["train/loss"] for point in points] == [1 / 2, 1 / 12, 1 / 22, 1 / 26]
    assert points[0]["scores/positive._type"] == "histogram"
    assert points[0]["scores/positive.values"] == [3, *[0] * 62, 1]  # three times 0 and once 64, in 64 bins
    assert sum(points[3]["scores/positive.values"]) == 4
    assert not [key for point in points for key in point if "negative_score" in key]
    assert not [key for key in points[3] if "scores/negative" in key], "no score is a number there"
    axes = {record.get("glob_name"): record.get("step_metric") for record in trained["metric"]}
    assert (axes["train/*"], axes["scores/*"]) == ("train/step", "train/step")

    away, baseline = (read(receipt["runs"][place]) for place in (2, 4))
    assert [(one["run"][0]["run_group"], one["run"][0]["job_type"]) for one in (away, baseline)] == [
        ("s/away", "evaluate"), ("s/made", "evaluate"),
    ]  # fmt: skip
    assert summary(away)["test/unseen/nDCG@10"] == 0.0625
    assert summary(baseline)["test/unseen/nDCG@10"] == 0.125
    assert json.loads(json.dumps(away["run"][0]["config"]["update"]))["trained_on"] == "made"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path


def test_the_board_is_a_table_and_an_artifact(runs):
    receipt = track(Path("results/tracking/s.board.json"), BOARD)
    (entry,) = receipt["runs"]
    records = read(entry)
    assert (records["run"][0]["run_group"], records["run"][0]["job_type"]) == ("s", "board")
    path = records["history"][0]["item"]["leaderboard.path"]
    table = json.loads((Path(entry["folder"]) / "files" / path).read_text())
    shown = pd.read_csv(BOARD / "leaderboard.csv")
    assert table["columns"] == list(shown.columns)
    pd.testing.assert_frame_equal(
        pd.DataFrame(table["data"], columns=table["columns"]), shown, check_dtype=False
    )
    artifact = next(record for record in records["artifact"] if record["type"] == "board")
    files = {content["path"]: Path(content["local_path"]) for content in artifact["manifest"]["contents"]}
    assert (artifact["name"], set(files)) == ("s-board", {"leaderboard.csv", "leaderboard.html"})
    (BOARD / "leaderboard.csv").unlink()  # a board is made anew before the upload: what was recorded stays
    assert files["leaderboard.csv"].read_text() == TABLE
    assert files["leaderboard.csv"].is_relative_to(Path("results/wandb").resolve())


def test_models_go_along_if_asked_for(runs):
    assert "artifact" not in read(track()["runs"][0])
    records = read(track(models=True)["runs"][1])
    (artifact,) = records["artifact"]
    files = {content["path"]: Path(content["local_path"]) for content in artifact["manifest"]["contents"]}
    assert (artifact["name"], artifact["type"]) == ("s-made-random-1", "model")
    assert files["model.safetensors"].resolve() == (runs[1] / "model.safetensors").resolve()  # not a copy
    assert files["manifest.json"].name == "manifest.json"


def test_points_and_summary_by_hand(runs, fake):
    track(every=10, project="mine")
    assert len(fake) == 7
    first = fake[0]
    assert [point["train/step"] for point in first.points] == [0, 10, 20, 24]
    assert first.points[1] == {"train/step": 10, "train/loss": 1 / 12}
    assert first.summary == {
        "test/all/queries": 3, "test/all/nDCG@10": 0.578125, "test/unseen/queries": 2, "test/unseen/nDCG@10": 0.25,
        "train_seconds": 1.625, "query_vectors": 400,
    }  # fmt: skip
    assert [run.finished for run in fake] == [1] * 7
    assert (first.options["project"], first.options["mode"]) == ("mine", "offline")
    assert [run.options["name"] for run in fake] == [
        "made random seed 0", "made random seed 1", "away random seed 0", "away random seed 1",
        "made untrained", "made bm25_search", "away untrained",
    ]  # fmt: skip
    assert first.options["config"]["seed"] == 0
    assert first.options["settings"].x_disable_stats


def test_same_run_has_the_same_identity(runs, fake):
    track()
    track()
    track(Path("results/tracking/s.board.json"), BOARD)
    identities = [run.options["id"] for run in fake]
    assert identities[:7] == identities[7:14]
    assert len(set(identities)) == 8


def test_broken_wandb_is_told_in_the_receipt_and_stops_nothing(runs, monkeypatch):
    import wandb

    tried = []

    def refuse(**options):
        tried.append(options["id"])
        raise wandb.errors.CommError("no route to the server")

    monkeypatch.setattr(wandb, "init", refuse)
    receipt = track(mode="online")
    assert [entry["sent"] for entry in receipt["runs"]] == [False] * 7
    reasons = [entry["reason"] for entry in receipt["runs"]]
    # Each try waits for the network, so a suite of hundreds of runs would wait for hours.
    assert reasons == ["CommError: no route to the server"] * 3 + ["not tried, as those before failed"] * 4
    assert len(tried) == 3
    assert SECRET not in RECEIPT.read_text()


def test_one_broken_run_leaves_the_others_sent(runs, fake):
    (runs[0] / "history.parquet").write_bytes(b"broken")
    receipt = track()
    assert [entry["sent"] for entry in receipt["runs"]] == [False] + [True] * 6
    assert "reason" in receipt["runs"][0]
    assert [run.finished for run in fake] == [1] * 7  # also the broken one is closed
    (runs[1] / "manifest.json").unlink()
    receipt = track()
    assert "there is no such file" in receipt["runs"][1]["reason"]


def test_missing_wandb_is_told_in_the_receipt(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert [entry["sent"] for entry in track()["runs"]] == [False] * 7
    assert RECEIPT.read_text().count("reason") == 7


def test_disabled_wandb_is_not_even_imported(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert track(mode="disabled") == {"mode": "disabled", "runs": []}
    assert list(RECEIPT.parent.iterdir()) == [RECEIPT]
    assert not Path("results/wandb").exists()


def test_failure_is_told_at_the_terminal(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv("NEGMARK_LOG", "log")
    track()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("  wandb (offline): 0 runs in ")
    assert "warning: 7 runs were not sent to W&B (ModuleNotFoundError" in lines[1]
    assert "delete results/tracking/s.json and run again" in lines[1]
