"""Archives made by anybody: what a dataset needs reaches the disk, and nothing else does."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from negmark.core.errors import UserError
from negmark.data import archive

FILES = {
    "corpus.jsonl": '{"_id": "d1", "text": "one"}\n{"_id": "d2", "text": "two"}\n',
    "queries.jsonl": '{"_id": "q1", "text": "which"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    "qrels/train.trec": "q1 0 d2 1\n",
}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in files.items():
                made.writestr(name, data)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as made:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                made.addfile(entry, io.BytesIO(data))
    return path


def plain(under: str = "") -> dict[str, bytes]:
    return {under + name: text.encode() for name, text in FILES.items()}


def written(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def refused(path: Path, tmp_path: Path, message: str) -> None:
    """It is refused in one line and nothing is written."""
    with pytest.raises(UserError, match=message) as caught:
        archive.unpack(path, tmp_path / "target")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert written(tmp_path / "target") == {}
    assert {path.name for path in tmp_path.iterdir()} <= {path.name, "target"}


@pytest.mark.parametrize("ending", archive.ENDINGS)
@pytest.mark.parametrize("under", ["", "mine/", "a/b/"])
def test_every_kind_of_archive_gives_the_files(tmp_path: Path, ending: str, under: str) -> None:
    path = packed(tmp_path / f"mine{ending}", plain(under))
    assert archive.is_archive(path)
    archive.unpack(path, tmp_path / "target")
    assert written(tmp_path / "target") == FILES


def test_an_archive_that_shutil_makes_of_a_folder_is_read(tmp_path: Path) -> None:
    import shutil

    for name, text in FILES.items():
        file = tmp_path / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for kind in ("zip", "gztar"):
        made = shutil.make_archive(str(tmp_path / kind), kind, tmp_path, "mine")
        archive.unpack(Path(made), tmp_path / f"target-{kind}")
        assert written(tmp_path / f"target-{kind}") == FILES


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_gzipped_files_inside_are_unpacked_and_plain_ones_go_first(tmp_path: Path, ending: str) -> None:
    files = plain()
    files["queries.jsonl.gz"] = gzip.compress(files.pop("queries.jsonl"))
    files["corpus.jsonl.gz"] = gzip.compress(b"another")
    archive.unpack(packed(tmp_path / f"mine{ending}", files), tmp_path / "target")
    assert written(tmp_path / "target") == FILES


def test_nothing_but_the_files_of_the_collection_reaches_the_disk(tmp_path: Path) -> None:
    others = ["README.md", "mine/notes.txt", "mine/qrels/deep/test.tsv", "mine/run.sh", "mine/qrels/a.py"]
    path = packed(tmp_path / "mine.zip", {**plain("mine/"), **dict.fromkeys(others, b"x")})
    archive.unpack(path, tmp_path / "target")
    assert written(tmp_path / "target") == FILES


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    "name", ["../evil", "mine/../../evil", "/evil", "mine/qrels/../../../test.tsv", "..\\evil", "C:\\evil"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, ending: str, name: str) -> None:
    path = packed(tmp_path / f"mine{ending}", {**plain("mine/"), name: b"x"})
    refused(path, tmp_path, "is outside the archive's folder; pack the plain files")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = packed(tmp_path / "mine.tar", plain("mine/"))
    with tarfile.open(path, "a") as made:
        entry = tarfile.TarInfo("mine/qrels/dev.tsv")
        entry.type, entry.linkname = kind, "/etc/passwd"
        made.addfile(entry)
    refused(path, tmp_path, "'mine/qrels/dev.tsv' is (a link|not a plain file); pack")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "mine.zip", plain("mine/"))
    with zipfile.ZipFile(path, "a") as made:
        entry = zipfile.ZipInfo("mine/qrels/dev.tsv")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(entry, "/etc/passwd")
    refused(path, tmp_path, "'mine/qrels/dev.tsv' is a link; pack")


def test_a_locked_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "mine.zip", plain())
    data = bytearray(path.read_bytes())
    for mark, offset in (
        (b"PK\x03\x04", 6),
        (b"PK\x01\x02", 8),
    ):  # the flags of the files and of the directory
        at = data.find(mark)
        data[at + offset] |= 1
    path.write_bytes(bytes(data))
    refused(path, tmp_path, "is locked with a password; pack the plain files")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, ending: str) -> None:
    path = packed(tmp_path / f"mine{ending}", {**plain(), "corpus.jsonl": b" " * (65 << 20)})
    assert path.stat().st_size < 1 << 20
    refused(path, tmp_path, r"unpacks to more than 100 times its size \(and 64 MB\), or to more than 64 GB")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_a_bomb_within_a_gz_is_stopped_while_it_is_written(tmp_path: Path, ending: str) -> None:
    bomb = gzip.compress(b" " * (65 << 20))
    path = packed(tmp_path / f"mine{ending}", {"corpus.jsonl.gz": bomb, "queries.jsonl": b"{}"})
    refused(path, tmp_path, "unpacks to more than 100 times its size")


def test_a_zip_that_lies_about_its_sizes_is_stopped(tmp_path: Path) -> None:
    """What counts is what comes out: a directory that says less of a file gets no more than it says."""
    path = packed(tmp_path / "mine.zip", {**plain(), "corpus.jsonl": b" " * (65 << 20)})
    data = bytearray(path.read_bytes())
    real = (65 << 20).to_bytes(4, "little")
    while (at := data.find(real)) >= 0:
        data[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    refused(path, tmp_path, "damaged, or not an archive")


def test_a_large_archive_may_unpack_to_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ALWAYS", 100)
    files = {**plain(), "corpus.jsonl": os.urandom(5000)}
    archive.unpack(packed(tmp_path / "mine.zip", files), tmp_path / "target")
    assert (tmp_path / "target" / "corpus.jsonl").read_bytes() == files["corpus.jsonl"]
    monkeypatch.setattr(archive, "MOST", 4000)
    (tmp_path / "other").mkdir()
    refused(packed(tmp_path / "other" / "mine.zip", files), tmp_path / "other", "unpacks to more")


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
def test_what_is_no_archive_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine{ending}"
    path.write_bytes(b"no archive at all" * 100)
    refused(path, tmp_path, "damaged, or not an archive")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_a_damaged_archive_is_named(tmp_path: Path, ending: str) -> None:
    path = packed(tmp_path / f"mine{ending}", {"corpus.jsonl": os.urandom(1 << 16)})
    data = bytearray(path.read_bytes())
    data[1000:1100] = bytes(100)
    path.write_bytes(bytes(data))
    refused(path, tmp_path, "damaged, or not an archive")


def test_an_archive_without_or_with_several_collections_is_named(tmp_path: Path) -> None:
    refused(
        packed(tmp_path / "mine.zip", {"README": b"x"}), tmp_path, "holds no corpus.jsonl and no collection"
    )
    both = {**plain("android/"), **plain("gis/")}
    refused(
        packed(tmp_path / "mine.zip", both), tmp_path, r"holds 2 collections \(android, gis ...\); unpack it"
    )
