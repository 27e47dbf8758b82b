"""The stage that feeds W&B as a process of its own, and what must hold whatever becomes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from builders import contents_file
from tracked_runs import CONTENTS, RECEIPT, SECRET

RUNS = len(CONTENTS.runs("made", "away")) + len(CONTENTS.baselines())


LOG = Path("results/logs/track.log")


def track(mode: str, key: str | None, **variables: str) -> tuple[dict, list[str]]:
    """Run the stage as the workflow does, a process of its own. Returns its receipt and what it said."""
    settings = {"mode": mode, "project": "negmark", "every": 10, "models": False}
    command = [
        sys.executable, "-m", "negmark.share.track", "--contents", str(contents_file(CONTENTS, Path())),
        "--settings", json.dumps(settings), "--receipt", str(RECEIPT),
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {
        **kept, **variables, "NEGMARK_LOG": str(LOG), "PYTHONPATH": str(Path(__file__).parents[2] / "workflow"),
        **({"WANDB_API_KEY": key} if key else {}),
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return json.loads(RECEIPT.read_text()), done.stderr.splitlines()


def assert_warned(told: list[str], count: int = RUNS) -> None:
    assert f"warning: {count} runs were not sent to W&B" in told[-1]
    assert "the local record is whole" in told[-1]
    assert f"delete {RECEIPT} and run again" in told[-1]


def record() -> dict[str, bytes]:
    """What was measured, with its bytes; what is W&B's, and the stage's own log, aside."""
    found = [path for path in Path("results").rglob("*") if path.is_file() and path not in (LOG, RECEIPT)]
    return {str(path): path.read_bytes() for path in found if "wandb" not in path.parts}


def assert_no_secret() -> None:
    holders = [path for path in Path().rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holders == []
