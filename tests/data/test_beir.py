"""BEIR datasets from a folder, from the cache, and from a server that misbehaves (a real one, on loopback)."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest

from builders import ROOT
from negmark.core.errors import UserError
from negmark.data import beir
from negmark.data.beir import downloads_folder, fetch_beir, find_local
from negmark.data.catalogue import UNRECORDED, Known, known_datasets
from negmark.data.fingerprint import collection_sha256

FILES = {
    "corpus.jsonl": (
        '{"_id": "d1", "title": "Aspirin", "text": "lowers fever"}\n{"_id": "d2", "title": "", "text": "né"}\n'
    ),
    "queries.jsonl": '{"_id": "q1", "text": "what lowers fever?"}\n',
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\td2\t1\n",
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
}
REAL = Path(os.environ.get("NEGMARK_DATA", "data"))


def zipped(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


GOOD = zipped({f"scifact/{name}": text for name, text in FILES.items()})


def written(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def write_files(folder: Path, files: dict[str, str], suffix: str = "") -> None:
    for name, text in files.items():
        plain = name.endswith(".tsv") or not suffix
        path = folder / (name if plain else name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if plain else gzip.compress(text.encode()))


class Server:
    """A server on loopback that gives each request to the next of `answers`, the last one again and again."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.hits.append(self.path)
                server.answers[min(len(server.hits), len(server.answers)) - 1](self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/datasets"

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()

    def sends(self, body: bytes, claimed: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(claimed or len(body)))
            request.end_headers()
            request.wfile.write(body)

        return answer

    def not_found(self, request: BaseHTTPRequestHandler) -> None:
        request.send_error(404)

    def stalls(self, request: BaseHTTPRequestHandler) -> None:
        """Begin well, then stay silent until the test is over."""
        request.send_response(200)
        request.send_header("Content-Length", str(len(GOOD)))
        request.end_headers()
        request.wfile.write(GOOD[:50])
        request.wfile.flush()
        self.closing.wait(20)

    def trickles(self, request: BaseHTTPRequestHandler) -> None:
        """Send the whole, slowly: never silent for as long as the time limit, longer than it in all."""
        request.send_response(200)
        request.send_header("Content-Length", str(len(GOOD)))
        request.end_headers()
        for start in range(0, len(GOOD), len(GOOD) // 8):
            request.wfile.write(GOOD[start : start + len(GOOD) // 8])
            request.wfile.flush()
            self.closing.wait(0.1)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server()
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEGMARK_BEIR_URL", served.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(beir, "RETRIES", 1)
    monkeypatch.setattr(beir, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda _: None))  # try again at once
    know(monkeypatch, GOOD)
    yield served
    served.close()


def know(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Record the MD5 of a small zip as SciFact's."""
    known = Known(licence="CC BY 4.0", train=True, md5=hashlib.md5(body).hexdigest())
    monkeypatch.setattr(beir, "known_datasets", lambda: {"scifact": known})


# --- download and cache ---


def test_a_good_zip_is_unpacked_and_the_cache_serves_the_second_call(server: Server, tmp_path: Path) -> None:
    server.answers = [server.sends(GOOD)]
    facts = fetch_beir("scifact", tmp_path / "one")
    assert facts == {
        "source": f"BEIR's scifact.zip (MD5 {hashlib.md5(GOOD).hexdigest()})",
        "licence": "CC BY 4.0",
    }
    assert written(tmp_path / "one") == FILES
    assert fetch_beir("scifact", tmp_path / "two") == facts
    assert written(tmp_path / "two") == FILES
    assert server.hits == ["/datasets/scifact.zip"]


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip that BEIR hands out without an MD5."""
    known = Known(licence="CC BY-SA 3.0", train=True, test=False, md5=UNRECORDED)
    monkeypatch.setattr(beir, "known_datasets", lambda: {"scifact": known})


def test_a_zip_without_a_recorded_md5_is_taken_and_said_to_be_unchecked(
    server: Server, tmp_path: Path, unrecorded: None
) -> None:
    server.answers = [server.sends(GOOD)]
    assert fetch_beir("scifact", tmp_path / "one")["source"] == "BEIR's scifact.zip (no MD5 recorded)"
    assert written(tmp_path / "one") == FILES
    fetch_beir("scifact", tmp_path / "two")
    assert server.hits == ["/datasets/scifact.zip"]


def test_half_a_zip_without_a_recorded_md5_is_refused_and_dropped(
    server: Server, tmp_path: Path, unrecorded: None
) -> None:
    server.answers = [server.sends(GOOD[:-30]), server.sends(GOOD)]
    with pytest.raises(
        UserError, match=r"the download is not a complete zip\); expected a complete zip\. Check the network"
    ):
        fetch_beir("scifact", tmp_path / "target")
    assert list(downloads_folder().iterdir()) == []
    fetch_beir("scifact", tmp_path / "target")
    assert written(tmp_path / "target") == FILES


def test_one_bad_answer_is_made_good_by_the_next(server: Server, tmp_path: Path) -> None:
    server.answers = [server.sends(GOOD[:100], claimed=len(GOOD)), server.sends(GOOD)]
    fetch_beir("scifact", tmp_path / "target")
    assert written(tmp_path / "target") == FILES
    assert len(server.hits) == 2


def test_a_cached_zip_that_was_damaged_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.answers = [server.sends(GOOD)]
    downloads_folder().mkdir(parents=True)
    (downloads_folder() / "scifact.zip").write_bytes(GOOD[:200])
    fetch_beir("scifact", tmp_path / "target")
    assert written(tmp_path / "target") == FILES


@pytest.mark.parametrize("trouble", ["truncated", "short", "corrupt", "not found", "stalls"])
def test_a_server_that_fails_gives_one_line_and_an_empty_cache(
    server: Server, tmp_path: Path, trouble: str
) -> None:
    corrupt = bytearray(GOOD)
    corrupt[60] ^= 1
    answer, reason = {
        "truncated": (server.sends(GOOD[:100], claimed=len(GOOD)), "IncompleteRead"),
        "short": (server.sends(GOOD[:100]), "does not match"),
        "corrupt": (server.sends(bytes(corrupt)), "does not match"),
        "not found": (server.not_found, "404"),
        "stalls": (server.stalls, "timed out"),
    }[trouble]
    server.answers = [answer]
    with pytest.raises(UserError) as caught:
        fetch_beir("scifact", tmp_path / "target")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        f"{server.url}/scifact.zip: can't be downloaded",
        reason,
        hashlib.md5(GOOD).hexdigest(),
        "<data>/scifact/",
        "NEGMARK_DATA",
    ):
        assert part in message
    assert len(server.hits) == 2  # it was tried again
    assert list(downloads_folder().iterdir()) == []
    assert not (tmp_path / "target").exists()


def test_a_slow_server_that_goes_on_sending_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.answers = [server.trickles]
    fetch_beir("scifact", tmp_path / "target")
    assert written(tmp_path / "target") == FILES
    assert len(server.hits) == 1


KILLED = """
import sys
from negmark.data import beir as beir_source
from negmark.data.catalogue import Known
beir_source.known_datasets = lambda: {"scifact": Known(licence="", train=True, md5=sys.argv[1])}
beir_source.fetch_beir("scifact", sys.argv[2])
"""


def test_a_download_that_was_killed_begins_anew(server: Server, tmp_path: Path) -> None:
    """What it left lies beside the zip's place under another name, and is never taken for the zip."""
    server.answers = [server.stalls, server.sends(GOOD)]
    arguments = [sys.executable, "-c", KILLED, hashlib.md5(GOOD).hexdigest(), str(tmp_path / "none")]
    with subprocess.Popen(arguments, cwd=ROOT) as child:
        wait_for(lambda: bool(server.hits) and any(downloads_folder().glob("*")))
        child.kill()
    left = list(downloads_folder().iterdir())
    assert len(left) == 1
    assert left[0].name != "scifact.zip"
    fetch_beir("scifact", tmp_path / "target")
    assert written(tmp_path / "target") == FILES
    assert (downloads_folder() / "scifact.zip").read_bytes() == GOOD


def wait_for(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_forums_of_cqadupstack_come_from_one_zip(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zipped(
        {
            f"cqadupstack/{forum}/{name}": text.replace("fever", forum)
            for forum in ("gis", "tex")
            for name, text in FILES.items()
        }
    )
    server.answers = [server.sends(packed)]
    md5 = hashlib.md5(packed).hexdigest()
    entries = {
        f"cqadupstack-{forum}": Known(licence="", train=False, md5=md5, path=f"cqadupstack/{forum}")
        for forum in ("gis", "tex")
    }
    monkeypatch.setattr(beir, "known_datasets", lambda: entries)
    for forum in ("gis", "tex"):
        facts = fetch_beir(f"cqadupstack-{forum}", tmp_path / forum)
        assert facts["source"] == f"BEIR's cqadupstack.zip (MD5 {md5})"
        assert written(tmp_path / forum) == {
            name: text.replace("fever", forum) for name, text in FILES.items()
        }
    assert server.hits == ["/datasets/cqadupstack.zip"]


def test_no_server_at_all(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGMARK_BEIR_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/scifact\.zip: can't be downloaded"):
        fetch_beir("scifact", tmp_path / "target")


def test_only_the_files_of_the_layout_leave_the_zip(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = {
        "../evil": "x",
        "scifact/../../evil": "x",
        "scifact/qrels/../../../evil.tsv": "x",
        "/evil": "x",
        "scifact/README": "x",
        "scifact/qrels/notes.txt": "x",
    }
    packed = io.BytesIO(zipped({**evil, **{f"scifact/{name}": text for name, text in FILES.items()}}))
    with zipfile.ZipFile(packed, "a") as archive:
        link = zipfile.ZipInfo("scifact/qrels/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/")
    know(monkeypatch, packed.getvalue())
    server.answers = [server.sends(packed.getvalue())]
    fetch_beir("scifact", tmp_path / "a" / "b" / "target")
    assert written(tmp_path / "a") == {f"b/target/{name}": text for name, text in FILES.items()}
    assert {path.name for path in tmp_path.iterdir()} == {"a", "cache"}


def test_a_name_that_is_not_known_is_told_which_are(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match="scifcat: not a known BEIR dataset; name one of arguana, climate-fever, cqadupstack-android",
    ):
        fetch_beir("scifcat", tmp_path)


def test_the_cache_is_the_users_unless_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path))
    assert downloads_folder() == tmp_path / "downloads"
    monkeypatch.delenv("NEGMARK_CACHE")
    assert "negmark" in downloads_folder().parts


# --- folders ---


def test_the_data_folder_is_looked_in_under_both_names_of_a_forum(tmp_path: Path) -> None:
    assert find_local("scifact", None) is None
    assert find_local("scifact", tmp_path) is None
    for name, place in (("scifact", "scifact"), ("cqadupstack-gis", "cqadupstack/gis")):
        (tmp_path / place).mkdir(parents=True)
        assert find_local(name, tmp_path) == tmp_path / place
    assert find_local("cqadupstack-tex", tmp_path) is None


@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "arguana"])
def test_the_real_dataset_has_the_recorded_fingerprint(name: str) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"needs {name} in NEGMARK_DATA")
    assert collection_sha256(REAL / name) == known_datasets()[name].sha256


FORUMS = [
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
]  # fmt: skip
PUBLIC = [
    "msmarco", "trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "webis-touche2020", "quora",
    "dbpedia-entity", "scidocs", "fever", "climate-fever", "scifact",
]  # fmt: skip


def test_every_public_dataset_of_beir_is_known_with_an_md5_of_its_own() -> None:
    known = known_datasets()
    assert {name for name, entry in known.items() if entry.md5} == {
        *PUBLIC,
        *(f"cqadupstack-{forum}" for forum in FORUMS),
        "nq-train",
    }
    assert {name for name, entry in known.items() if entry.md5 == UNRECORDED or not entry.test} == {
        "nq-train"
    }
    assert len({known[name].md5 for name in PUBLIC}) == len(PUBLIC)
    forums = [known[f"cqadupstack-{forum}"] for forum in FORUMS]
    assert {(entry.md5, entry.path) for entry in forums} == {
        (forums[0].md5, f"cqadupstack/{forum}") for forum in FORUMS
    }
    assert {name for name in PUBLIC if known[name].train} == {
        "msmarco", "nfcorpus", "hotpotqa", "fiqa", "fever", "scifact",
    }  # fmt: skip
