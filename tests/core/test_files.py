"""Files appear whole or not at all, and hashes stand for what files hold."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from safetensors import SafetensorError

from negmark.core import files
from negmark.core.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_file_takes_the_old_ones_place(tmp_path):
    path = tmp_path / "a" / "x.json"
    files.write_text(path, "old")
    files.write_text(path, "new ä")
    assert path.read_bytes() == "new ä".encode()
    assert names(path.parent) == ["x.json"]


def test_old_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail():
        with files.replacing(path) as partial:
            partial.write_text("half")
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; make room"),
        (SafetensorError("Error while serializing: I/O error (os error 28)"), "the disk is full; make room"),
        (OSError(errno.EROFS, "Read-only file system"), "is read-only; fix its permissions"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error; check the disk"),
    ],
)
def test_what_a_disk_refuses_is_told_in_one_line(tmp_path, error, words):
    path = tmp_path / "x.txt"
    for writing in (files.replacing, files.replacing_folder):
        with pytest.raises(UserError, match=rf"x\.txt: can't be written: .*{words}") as caught, writing(path):
            raise error
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_an_error_of_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "out" / "x.txt"):
        (tmp_path / "in" / "source").read_bytes()


def test_what_killed_writers_left_is_removed(tmp_path):
    inner = tmp_path / "a"
    (inner / ".partial-model.safetensors-00aa.safetensors").parent.mkdir()
    (inner / ".partial-model.safetensors-00aa.safetensors").write_text("half")
    (inner / ".partial-step-000000003-00aa").mkdir()
    (inner / ".partial-step-000000003-00aa" / "x").write_text("half")
    (inner / "model.safetensors").write_text("whole")
    files.sweep_beside(inner / "model.safetensors")
    assert names(inner) == [".partial-step-000000003-00aa", "model.safetensors"]
    files.sweep(tmp_path)
    assert names(inner) == ["model.safetensors"]


@pytest.mark.parametrize(
    ("writing", "make"), [(files.replacing, Path.touch), (files.replacing_folder, Path.mkdir)]
)
def test_the_names_of_partial_files_are_those_that_are_swept(tmp_path, writing, make):
    path = tmp_path / ("x" * 100 + ".npy")
    with writing(path) as partial:
        files.sweep_beside(path)
        gone = not partial.exists()
        make(partial)
    assert gone
    assert names(tmp_path) == [path.name]


def test_partial_keeps_the_suffix_and_the_usual_rights(tmp_path):
    mask = os.umask(0o027)
    try:
        with files.replacing(tmp_path / "x.trec.gz") as partial:
            assert partial.name.endswith(".trec.gz")
            assert partial.parent == tmp_path
        with files.replacing_folder(tmp_path / "inner"):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "x.trec.gz").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "inner").stat().st_mode) == 0o750


def test_folder_appears_whole(tmp_path):
    path = tmp_path / "deep" / "cache"
    with files.replacing_folder(path) as partial:
        (partial / "a").write_text("1")
        assert not path.exists()
    assert (path / "a").read_text() == "1"
    assert names(path.parent) == ["cache"]


def test_folder_that_failed_leaves_nothing(tmp_path):
    def fail():
        with files.replacing_folder(tmp_path / "cache") as partial:
            (partial / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


def test_first_of_two_equal_folders_stays(tmp_path):
    path = tmp_path / "cache"
    with files.replacing_folder(path) as slow:
        (slow / "a").write_text("slow")
        with files.replacing_folder(path) as fast:
            (fast / "a").write_text("fast")
    assert (path / "a").read_text() == "fast"
    assert names(tmp_path) == ["cache"]


def test_folder_that_cant_be_placed_is_a_user_error(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    with (
        pytest.raises(UserError, match="cache: can't be written: the disk is full"),
        files.replacing_folder(tmp_path / "cache"),
    ):
        pass
    assert names(tmp_path) == []


def test_json_round_trip_is_sorted_and_readable(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"b": [1.5, None], "a": "né"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "né",\n  "b": [\n    1.5,\n    null\n  ]\n}\n'
    assert files.read_json(path) == {"a": "né", "b": [1.5, None]}


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", '{"a": 1} x', "\x00"])
def test_broken_json_is_told_in_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"x\.json: not JSON .*delete it and run again") as caught:
        files.read_json(path)
    assert "\n" not in str(caught.value)


def test_broken_bytes_are_told_in_one_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match=r"x\.json: not JSON"):
        files.read_json(path)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: there is no such file"):
        files.read_json(tmp_path / "none.json")


def test_hashes_are_those_of_sha256(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert files.sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.canonical({"b": 1, "a": ["é", 2.5]}) == '{"a":["é",2.5],"b":1}'
    assert files.short_hash({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()[:8]
    assert files.short_hash({"a": 2, "b": 1}) == files.short_hash({"b": 1, "a": 2})
    assert files.short_hash({"a": 2}) != files.short_hash({"a": "2"})


def test_copies_of_a_cached_file_have_times_of_their_own(tmp_path):
    """Snakemake touches what a job wrote: with hard links the runs of a second suite made the first one train again."""
    (tmp_path / "cached").write_bytes(b"vectors")
    for name in ("first", "second"):
        files.copy(tmp_path / "cached", tmp_path / name)
    before = (tmp_path / "first").stat().st_mtime_ns
    os.utime(tmp_path / "second", ns=(before + 10**9, before + 10**9))
    assert (tmp_path / "first").stat().st_mtime_ns == before
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == b"vectors"
    assert names(tmp_path) == ["cached", "first", "second"]
