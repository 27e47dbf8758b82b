"""Offline runs are uploaded by W&B's own command; what didn't arrive stays and can be sent again."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from negmark.core.errors import UserError
from negmark.share import sync

STUB = """
import sys
from pathlib import Path
Path("calls.txt").open("a").write(" ".join(sys.argv[1:]) + "\\n")
for folder in map(Path, sys.argv[1:]):
    if (folder / "refused").exists():
        print("wandb: ERROR the server said no")
        sys.exit(1)
    next(folder.glob("*.wandb")).with_suffix(".wandb.synced").touch()
if Path("hang").exists():
    import time
    time.sleep(60)
"""
RECEIPTS = [Path("results/tracking/s.json"), Path("results/tracking/s.board.json")]
OUTPUT = Path("results/tracking/s.synced.json")


@pytest.fixture
def server() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nowhere() -> str:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> list[Path]:
    """Two runs and a board that wait, a stub in the place of `wandb sync`, and a server that can be reached."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", server)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(sync, "COMMAND", (sys.executable, "stub.py"))
    monkeypatch.setattr(sync, "POLL", 0.01)
    made = [Path("results/wandb") / f"offline-run-{name}" for name in ("a", "b", "board")]
    for folder in made:
        folder.mkdir(parents=True)
        (folder / f"run-{folder.name[12:]}.wandb").write_bytes(b"records")
    RECEIPTS[0].parent.mkdir()
    for receipt, part in zip(RECEIPTS, (made[:2], made[2:]), strict=True):
        runs = [{"run": folder.name, "sent": True, "folder": str(folder), "seconds": 0.1} for folder in part]
        receipt.write_text(json.dumps({"mode": "offline", "runs": runs}))
    return made


def calls() -> list[list[str]]:
    return [line.split() for line in Path("calls.txt").read_text().splitlines()]


def test_all_runs_arrive_and_the_receipt_names_them(folders: list[Path]) -> None:
    sync.main(RECEIPTS, OUTPUT)
    assert calls() == [[str(folder) for folder in folders]]
    receipt = json.loads(OUTPUT.read_text())
    assert [entry["run"] for entry in receipt["runs"]] == [
        "offline-run-a",
        "offline-run-b",
        "offline-run-board",
    ]


def test_what_failed_stays_and_is_sent_by_the_next_call(folders: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(sync, "AT_ONCE", 1)
    (folders[1] / "refused").touch()
    with pytest.raises(UserError) as caught:
        sync.main(RECEIPTS, OUTPUT)
    said = str(caught.value)
    assert said.startswith(
        "sync: 1 of 3 runs have arrived at W&B (wandb: ERROR the server said no); nothing is lost"
    )
    assert "run `snakemake sync` again" in said
    assert not OUTPUT.exists()
    assert all((folder / f"run-{folder.name[12:]}.wandb").read_bytes() == b"records" for folder in folders)
    (folders[1] / "refused").unlink()
    sync.main(RECEIPTS, OUTPUT)
    assert calls() == [[str(folders[place])] for place in (0, 1, 1, 2)]  # the first is not sent twice
    assert OUTPUT.exists()


def test_without_a_network_it_ends(folders: list[Path], monkeypatch) -> None:
    """`wandb sync` itself tries on for ever."""
    monkeypatch.setattr(sync, "PATIENCE", 0.2)
    (folders[0] / "refused").touch()
    (Path("stub.py")).write_text("import time; print('connecting', flush=True); time.sleep(60)")
    with pytest.raises(UserError, match=r"0 of 3 .* within 0.2 s; W&B said last: "):
        sync.main(RECEIPTS, OUTPUT)


def test_a_server_that_takes_no_connection_is_told_at_once(folders, monkeypatch, nowhere: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", nowhere)
    with pytest.raises(UserError) as told:
        sync.main(RECEIPTS, OUTPUT)
    reason = f"{nowhere} can't be reached: Connection refused"
    assert str(told.value).startswith(f"sync: 0 of 3 runs have arrived at W&B ({reason}); nothing is lost")
    assert not Path("calls.txt").exists(), "W&B, which tries on, was not called"


def test_the_proxy_is_what_must_be_reached(folders, monkeypatch, nowhere: str, server: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.invalid")
    monkeypatch.setenv("http_proxy", nowhere)
    with pytest.raises(UserError, match=r"http://wandb.invalid can't be reached: Connection refused"):
        sync.main(RECEIPTS, OUTPUT)
    monkeypatch.setenv("http_proxy", server)
    sync.main(RECEIPTS, OUTPUT)
    assert OUTPUT.exists()


def test_what_has_arrived_needs_no_network(folders, monkeypatch, nowhere: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", nowhere)
    for folder in folders:
        (folder / f"run-{folder.name[12:]}.wandb.synced").touch()
    sync.main(RECEIPTS, OUTPUT)
    assert OUTPUT.exists()


def test_one_that_hangs_after_the_last_run_has_done_its_work(folders: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(sync, "PATIENCE", 1.0)
    Path("hang").touch()
    sync.main(RECEIPTS, OUTPUT)
    assert OUTPUT.exists()


def test_what_was_not_recorded_or_is_gone_is_told(folders: list[Path]) -> None:
    told = json.loads(RECEIPTS[0].read_text())
    told["runs"][1] = {"run": "offline-run-b", "sent": False, "reason": "x", "seconds": 0.1}
    RECEIPTS[0].write_text(json.dumps(told))
    with pytest.raises(
        UserError, match=r"offline-run-b: no offline run of it is there \(1 of 3 are missing\)"
    ):
        sync.main(RECEIPTS, OUTPUT)
    for mode in ("online", "disabled"):
        RECEIPTS[0].write_text(json.dumps({"mode": mode, "runs": []}))
        with pytest.raises(UserError, match=f"tracking.mode: {mode}, so no run waits"):
            sync.main(RECEIPTS, OUTPUT)
    assert not Path("calls.txt").exists()


def test_the_command_is_that_of_wandb(folders: list[Path], monkeypatch, tmp_path: Path) -> None:
    """Without a key the real one refuses at once, and leaves the runs as they are."""
    monkeypatch.setattr(sync, "COMMAND", (sys.executable, "-m", "wandb", "sync"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"0 of 3 runs have arrived at W&B \(.*API key.*\); nothing is lost"):
        sync.main(RECEIPTS, OUTPUT)


def test_a_run_that_a_full_disk_cut_off_is_found_by_wandb(folders: list[Path], monkeypatch) -> None:
    """Before it asks for the server, which is none."""
    monkeypatch.setattr(sync, "COMMAND", (sys.executable, "-m", "wandb", "sync"))
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.raises(
        UserError, match=r"0 of 3 runs .* \(wandb: ERROR Failed to .*\); .* on a full disk: make"
    ):
        sync.main(RECEIPTS, OUTPUT)
