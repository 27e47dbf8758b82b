"""A suite from beginning to end over a dataset and a method that mean ill, with secrets in the environment.

Ids, texts, titles and claims hold HTML, LaTeX, formulas, paths, control characters and white space; nothing of it may
run, break a table or leave its folder, and no secret may be written anywhere.
"""

import base64
import csv
import gzip
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.dom import minidom

import pandas as pd
import pyarrow.parquet as pq
import pytest

from board_files import PAPER
from browsers import needs_browser, open_page
from tiny import SUITE, copy_project, snakemake, write_suite

pytestmark = pytest.mark.slow
SECRETS = {
    "WANDB_API_KEY": "planted0wandb0" + "5e" * 13,
    "HF_TOKEN": "hf_PlantedTokenOfTheHubQxZ",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+Kx9Qw7Zt3Rv5Bn1Mh8Jd2",
    "MY_SECRET": "planted-my-secret-4d1f",
}
ATTACK = (
    '=1+1<script>window.pwned=1</script><img src=x onerror="window.pwned=1" id=pwned>|`*_$^~#%&{}'
    "\\input{/etc/passwd}\\end{table}</title></style>'\"[x](javascript:alert(1))"
)
LINES = f"{ATTACK}\n\t\u202e\x1b[31m{ATTACK}"
STARTS = [
    "=1+1", "+1", "-1", "@SUM(1)", "\tx", "\rx", "../../up", "/etc/x", "<b>", "a b", "a\nb", "\u202e", "\x1b[31m", "%",
    "\\", "'", '"', "\u00e9", "x" * 2000, "{a}", "$(x)", "#", ",", ";", "\ufeff", "\u2028", "NaN", ".",
]  # fmt: skip
METHOD = """from negmark.methods.base import Claim, Footnote, Method, Negatives
import numpy as np

ATTACK, LINES = {attack!r}, {lines!r}
__doc__ = ATTACK


class Evil(Method):
    name = "evil"
    title = ATTACK
    citation = LINES
    footnotes = (Footnote(LINES),)
    claims = (Claim("evil", "inbatch", "nDCG@10", LINES, LINES),)

    def negatives(self, batch):
        ids = self.services.rng(batch.step).integers(0, self.services.documents, (len(batch.queries), 2))
        return Negatives(ids=np.where(self.services.is_positive(batch.queries, ids), -1, ids), source=LINES)

    def telemetry(self):
        return {{LINES: 0.5}}
"""
GATE = {
    "dataset": "pydoc", "system": "bm25_search", "expected": 0.5, "tolerance": 0.99, "k1": 1.2, "b": 0.75,
    **dict.fromkeys(("tokenizer", "fields", "self_ids", "source", "note"), LINES),
}  # fmt: skip
FOLDER = "=<b id=pwned>x & \\y $z 'q' {w}"


def renamed(path: Path, name: str, keys: dict[str, str], extra: str) -> None:
    rows = [json.loads(line) for line in (path / name).read_text(encoding="utf-8").splitlines()]
    told = [{**row, "_id": keys[row["_id"]], "text": f"{row['text']} {extra}"} for row in rows]
    if "title" in rows[0]:
        told = [{**row, "title": LINES} for row in told]
    (path / name).write_text("".join(json.dumps(row) + "\n" for row in told))


def made_hostile(folder: Path) -> None:
    """Give a collection ids, titles and texts that mean ill. Its judgments have no tabs within an id."""
    for file in ("corpus", "queries"):
        lines = (folder / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
        names = [json.loads(line)["_id"] for line in lines]
        starts = [start for start in STARTS if not re.search(r"[\t\n\r]", start)]
        keys = {name: f"{starts[place % len(starts)]}{name}" for place, name in enumerate(names)}
        renamed(folder, f"{file}.jsonl", keys, LINES)
        for split in ("train", "test"):
            path = folder / "qrels" / f"{split}.tsv"
            column = 1 if file == "corpus" else 0
            rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
            for row in rows[1:]:
                row[column] = keys[row[column]]
            path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    with (folder / "corpus.jsonl").open("a", encoding="utf-8") as stream:
        for start in STARTS:  # those that no judgment could name too
            stream.write(
                json.dumps({"_id": f"{start}alone", "title": start, "text": f"{start} {LINES}"}) + "\n"
            )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite, run."""
    folder = tmp_path_factory.mktemp("outer") / "project"
    folder.mkdir()
    copy_project(folder)
    (folder / "pydoc").rename(folder / FOLDER)
    made_hostile(folder / FOLDER)
    (folder / "methods" / "evil.py").write_text(METHOD.format(attack=ATTACK, lines=LINES), encoding="utf-8")
    suite = {
        **SUITE, "datasets": {"pydoc": {"source": f"./{FOLDER}", "dev_queries": 0}},
        "methods": {"inbatch": None, "evil": None}, "gates": {"mine": GATE},
        "encoder": {**SUITE["encoder"], "query_prompt": f"{LINES} {{x}}"},
        "tracking": {"mode": "offline", "models": True, "project": "x"},
    }  # fmt: skip
    write_suite(folder, suite)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        done = snakemake(folder)
        exported = snakemake(folder, "models")
    told = done.stdout + done.stderr + exported.stdout + exported.stderr
    (folder / "terminal.txt").write_text(told, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def board(project: Path) -> Path:
    return project / "results" / "leaderboards" / "tiny"


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """The bytes of a file, and of what is packed in it."""
    content = path.read_bytes()
    yield str(path), content
    if content[:2] == b"\x1f\x8b":
        yield f"{path} unpacked", gzip.decompress(content)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((f"{path}!{name}", archive.read(name)) for name in archive.namelist())


def test_no_secret_is_written_anywhere(project: Path) -> None:
    files = [path for path in project.rglob("*") if path.is_file()]
    places = {path.relative_to(project).parts[0] for path in files}
    assert {"results", ".snakemake", "cache", "terminal.txt"} <= places
    assert any("offline-run" in str(path) for path in files)
    looked = 0
    for path in files:
        for name, content in contents(path):
            looked += 1
            for variable, secret in SECRETS.items():
                for form in (
                    secret,
                    json.dumps(secret)[1:-1],
                    base64.b64encode(secret.encode()).decode()[:-4],
                ):
                    assert form.encode() not in content, f"{variable} in {name}"
    assert looked > 200


def test_parquet_holds_no_secret_either(project: Path) -> None:
    """Its columns are compressed."""
    files = list((project / "results").rglob("*.parquet"))
    assert len(files) > 10
    for path in files:
        text = str(pq.read_table(path).to_pydict())
        assert not [name for name, secret in SECRETS.items() if secret in text], path


def test_nothing_leaves_its_folder_and_names_of_files_are_plain(project: Path) -> None:
    assert [path.name for path in project.parent.iterdir()] == ["project"]
    for path in (project / "results").rglob("*"):
        assert re.fullmatch(r"[\w.@-]{1,120}", path.name), path
        assert path.resolve().is_relative_to(project)


def test_no_cell_of_a_table_is_a_formula(board: Path) -> None:
    tables = list(board.rglob("*.csv"))
    assert {"leaderboard.csv", "claims.csv", "gates.csv", "differences.csv", "pydoc.csv"} <= {
        path.name for path in tables
    }
    hostile = 0
    for path in tables:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        assert len({len(row) for row in rows}) == 1, path
        for cell in (cell for row in rows for cell in row):
            hostile += ATTACK[:20] in cell
            assert not cell.startswith(("=", "+", "@", "\t", "\r", "\n")), (path, cell)
            assert not cell.startswith("-") or re.fullmatch(r"-[\d.]+(e-?\d+)?|-inf", cell), (path, cell)
    assert hostile > 5


def test_markdown_shows_the_text_and_nothing_else(board: Path, project: Path) -> None:
    pages = [*board.rglob("*.md"), *(project / "results").rglob("README.md")]
    assert {"leaderboard.md", "claims.md", "gates.md", "pydoc.md", "README.md"} <= {
        path.name for path in pages
    }
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|b)\b", text), path
        assert not re.search(r"(?<!\\)\]\(javascript:", text), path
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")}
        assert len(widths) <= 3, path  # a table or two


def test_latex_holds_no_command_of_the_text(board: Path, tmp_path: Path) -> None:
    text = (board / "leaderboard.tex").read_text(encoding="utf-8")
    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"\input{" not in text.replace(r"\input{leaderboard.tex}", "")
    assert text.count(r"\end{table}") == text.count(r"\begin{table}")
    if shutil.which("pdflatex") is None:
        pytest.skip("no LaTeX is installed: the file was read, not compiled")
    shutil.copy(board / "leaderboard.tex", tmp_path)
    (tmp_path / "paper.tex").write_text(PAPER)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_figures_are_drawings_alone(board: Path) -> None:
    drawings = list((board / "figures").glob("*.svg"))
    assert len(drawings) >= 5
    for path in drawings:
        tree = minidom.parse(str(path))
        tags = {element.tagName for element in tree.getElementsByTagName("*")}
        assert not tags & {"script", "img", "foreignObject", "iframe"}, path
        assert not re.search(r"\son\w+\s*=", path.read_text(encoding="utf-8").split("<desc", 1)[0])


@needs_browser
def test_the_page_shows_the_text_and_runs_nothing_of_it(board: Path, browser) -> None:
    open_page(browser, board / "leaderboard.html")
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return document.querySelectorAll('[id=pwned], [onerror]').length") == 0
    assert "<script>window.pwned=1</script>" in browser.execute_script("return document.body.textContent")
    assert "=1+1" in browser.title or "negmark" in browser.title
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []


def test_run_files_keep_their_columns_and_name_every_document(project: Path) -> None:
    (dataset,) = (project / "results" / "datasets").glob("pydoc-*")
    documents = pq.read_table(dataset / "documents.parquet").column("id").to_pylist()
    queries = pq.read_table(dataset / "queries.parquet").column("id").to_pylist()
    runs = list((project / "results" / "runs").rglob("run.trec.gz"))
    assert len(runs) >= 6
    for path in runs:
        text = gzip.decompress(path.read_bytes()).decode()
        rows = [re.split(r"[ \t\n\r\x0b\x0c]+", line) for line in text.split("\n")[:-1]]
        assert {len(row) for row in rows} == {6}, path
        for row in rows:
            assert row[0] in queries or unquote(row[0]) in queries
            assert row[2] in documents or unquote(row[2]) in documents


def test_wandb_holds_the_board_cell_by_cell(project: Path, board: Path) -> None:
    tables = list((project / "results" / "wandb").rglob("*.table.json"))
    assert len(tables) == 1
    found = json.loads(tables[0].read_text(encoding="utf-8"))
    shown = pd.read_csv(board / "leaderboard.csv")
    assert found["columns"] == list(shown.columns)
    assert [row[found["columns"].index("title")] for row in found["data"]] == shown["title"].tolist()


def test_every_line_of_the_terminal_can_be_shown(project: Path) -> None:
    text = (project / "terminal.txt").read_text(encoding="utf-8")
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
