"""W&B is fed from the record; what goes wrong there goes into the receipt and stops nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from builders import contents_file
from negmark.share import track as tracking
from tracked_runs import (
    BOARD,
    CONTENTS,
    EVALUATED,
    RECEIPT,
    SECRET,
    TABLE,
    read,
)


def track(receipt: Path = RECEIPT, folder: Path | None = None, **settings) -> dict:
    options = {"mode": "offline", "project": "negmark", "every": 10, "models": False, **settings}
    tracking.main(contents_file(CONTENTS, Path()), json.dumps(options), receipt, folder)
    return json.loads(receipt.read_text())


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
