"""Where BEIR datasets come from: the user's data folder, the download cache or BEIR's server.

The BEIR layout is a folder with

- `corpus.jsonl`: one document per line, `{"_id", "title", "text"}`;
- `queries.jsonl`: one query per line, `{"_id", "text"}`;
- `qrels/<split>.tsv`: relevance judgments, `query-id <tab> corpus-id <tab> score`, after a header line.

A zip is downloaded to a temporary file and moved to its place in the cache only if its MD5 is right, or, where BEIR
publishes none, if the zip is complete; an interrupted download starts again. CQADupStack is one zip of twelve folders,
each a dataset (`path` in `datasets.yaml`). Files are looked up by the names above and written under those names, so
nothing else in a zip ever reaches the disk; `zipfile.Path` behaves like `pathlib.Path`, so the same code reads folders
and zips.
"""

import contextlib
import gzip
import os
import shutil
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from negmark.core.cache import alone
from negmark.core.errors import UserError
from negmark.core.files import is_unwritable, replacing, unwritable
from negmark.core.folders import cache_folder
from negmark.data.catalogue import UNRECORDED, known_datasets

BEIR_URL = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
RETRIES = 3
TIMEOUT_S = 60.0  # without any data, not for the whole download

Source = Path | zipfile.Path


def find_local(name: str, local: Path | None) -> Path | None:
    """Return the folder of a known dataset in the user's data folder `local`, if one is set and holds it."""
    known = known_datasets()[name]
    places = (local / place for place in (name, known.path) if place) if local is not None else ()
    return next((place for place in places if place.is_dir()), None)


def fetch_beir(name: str, target: Path) -> dict[str, str]:
    """Fill the empty folder `target` with the BEIR dataset `name`, from the cache or BEIR's server.

    Returns its `source` and `licence`. If this raises, `target` may hold some of the files, so use a temporary folder.
    """
    known = known_datasets().get(name)
    if known is None or known.md5 is None:
        names = ", ".join(sorted(key for key, entry in known_datasets().items() if entry.md5))
        raise UserError(f"{name}: not a known BEIR dataset; name one of {names}, or a folder in BEIR layout")
    path = known.path or name
    zip_name = path.partition("/")[0]
    with zipfile.ZipFile(_cached_zip(zip_name, known.md5, path)) as archive:
        copy_layout(zipfile.Path(archive, f"{path}/"), target)
    md5 = "no MD5 recorded" if known.md5 == UNRECORDED else f"MD5 {known.md5}"
    return {"source": f"BEIR's {zip_name}.zip ({md5})", "licence": known.licence}


def downloads_folder() -> Path:
    """Where downloaded zips are kept for the next run; the environment variable NEGMARK_CACHE moves it."""
    return cache_folder() / "downloads"


def copy_layout(folder: Source, target: Path) -> None:
    """Copy the files of a dataset in BEIR layout, plain or gzipped, to `target`, unpacked."""
    files = {name: plain_or_gz(folder, name) for name in ("corpus.jsonl", "queries.jsonl")}
    files |= {name: plain_or_gz(folder, name) for name in _qrels_names(folder) or ["qrels/test.tsv"]}
    for name, file in files.items():
        if file is None:
            raise UserError(
                f"{folder}: {name} is missing; expected the BEIR layout:"
                " corpus.jsonl, queries.jsonl and qrels/<split>.tsv, each plain or .gz"
            )
    for name, file in files.items():
        if file is not None:
            _copy(file, target / name)


def plain_or_gz(folder: Source, name: str) -> Source | None:
    """The file `name` of a folder, else its gzipped copy `name.gz`, else None."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


@contextlib.contextmanager
def opened(file: Source) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file for reading, unpacked if its name ends in .gz. Raises `UserError` if it is damaged."""
    try:
        raw = file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: can't be opened ({error.strerror}); fix its permissions") from error
    with raw:
        try:
            yield gzip.GzipFile(fileobj=raw) if file.name.endswith(".gz") else raw
        except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise UserError(f"{file}: damaged ({error}); replace it by an intact copy") from error


def _qrels_names(folder: Source) -> list[str]:
    """The judgment files of a folder, as `qrels/<split>.tsv`, whether plain or gzipped."""
    splits = folder / "qrels"
    names = {file.name.removesuffix(".gz") for file in splits.iterdir()} if splits.is_dir() else set()
    return sorted(f"qrels/{name}" for name in names if name.endswith(".tsv"))


def _copy(file: Source, target: Path) -> None:
    with replacing(target) as partial, opened(file) as source, partial.open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _cached_zip(name: str, md5: str, path: str) -> Path:
    """The zip with this MD5 from the cache; pooch downloads it if it is missing or has changed."""
    import pooch  # here, as plans read this module too

    base = (os.environ.get("NEGMARK_BEIR_URL") or BEIR_URL).rstrip("/")
    recorded = md5 != UNRECORDED
    cache = pooch.create(
        path=downloads_folder(),
        base_url=f"{base}/",
        registry={f"{name}.zip": f"md5:{md5}" if recorded else None},
        retry_if_failed=RETRIES,
    )
    download = pooch.HTTPDownloader(timeout=TIMEOUT_S, progressbar=sys.stderr.isatty())
    try:
        with alone(downloads_folder() / f"{name}.zip", f"downloads {name}.zip"):
            file = Path(cache.fetch(f"{name}.zip", downloader=download))
            return file if recorded else _complete(file)
    except (OSError, ValueError) as error:
        if is_unwritable(error):
            raise unwritable(error, downloads_folder() / f"{name}.zip") from error
        expected = f"a zip with MD5 {md5}" if recorded else "a complete zip"
        raise UserError(
            f"{base}/{name}.zip: can't be downloaded, tried up to {1 + RETRIES} times"
            f" ({textwrap.shorten(str(error), 200)}); expected {expected}. Check the network, or"
            f" put corpus.jsonl, queries.jsonl and qrels/*.tsv into <data>/{path}/ and set NEGMARK_DATA to <data>"
        ) from error


def _complete(file: Path) -> Path:
    """Return a zip without a recorded MD5 if its table of contents, at its end, is there; else delete it and raise."""
    if not zipfile.is_zipfile(file):
        file.unlink()
        raise ValueError("the download is not a complete zip")
    return file
