"""One run makes what lies in the shared cache, the others wait for it and say so."""

import threading
from pathlib import Path

import pytest

from negmark.core import cache, stage
from negmark.core.cache import alone
from negmark.core.errors import UserError


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path))
    lines: list[str] = []
    monkeypatch.setattr(stage, "say", lines.append)
    return lines


def test_the_second_waits_says_so_once_and_finds_what_the_first_made(tmp_path: Path, said: list[str]) -> None:
    path, order = tmp_path / "vectors" / "abc.npy", []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with alone(path, "encodes the same texts"):
            inside.set()
            leave.wait(30)
            path.parent.mkdir()
            path.write_text("made")
            order.append("first")

    def second() -> None:
        with alone(path, "encodes the same texts"):
            order.append(f"second found it {path.read_text()}")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    while not said:
        threads[1].join(0.01)
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second found it made"]
    assert said == ["another run encodes the same texts; waiting for it to end"]


def test_other_things_are_made_meanwhile(tmp_path: Path, said: list[str]) -> None:
    with alone(tmp_path / "a.npy", "encodes"), alone(tmp_path / "b.npy", "encodes"):
        pass
    assert said == []


def test_what_a_killed_run_left_goes_and_what_others_write_stays(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / ".partial-a.npy-0123abcd.npy").write_text("half")
    (tmp_path / ".partial-b.npy-0123abcd.npy").write_text("of another run")
    with alone(tmp_path / "a.npy", "encodes"):
        assert [path.name for path in tmp_path.glob(".partial*")] == [".partial-b.npy-0123abcd.npy"]


def test_a_cache_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"x\.npy\.lock: can't be written"),
        alone(tmp_path / "x.npy", "encodes"),
    ):
        pass


def test_a_file_system_without_locks_is_no_reason_to_fail(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from negmark.core import locks

    def refuse(*arguments: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with cache.alone(tmp_path / "x.npy", "encodes"):
        (tmp_path / "x.npy").write_text("made")
    assert (tmp_path / "x.npy").read_text() == "made"
