"""What a change makes the next run do: no more than what hangs on it, and what was damaged is made again."""

import json
import os
from pathlib import Path

from furnished import BAD, GOOD, TUNED, plain, small, suite
from negmark.run.repair import NOTE
from tiny import BOARD, RUNS, outputs, planned, scheduled, snakemake, write_suite

SIMANS = {"simans", "simans_finetune", "simans_tuned", "heir"}
"""Rows whose method is SimANS."""


def rows(made: set[str]) -> set[str]:
    """Rows that are trained or evaluated anew on their own dataset."""
    return {Path(path).parts[4] for path in made if path.startswith(f"{RUNS}/")}


def models(made: set[str]) -> set[str]:
    return {path for path in made if path.endswith("model.safetensors")}


def test_finished_work_is_not_done_again(project: Path) -> None:
    """By Snakemake's own command line; other tests ask a process that has it imported already."""
    told = snakemake(project, "--dry-run")
    assert outputs(told.stdout + told.stderr) == set()
    assert scheduled(project) == set()


def test_a_dry_run_says_the_same_by_the_command_line(bare: Path) -> None:
    write_suite(bare, suite())
    told = snakemake(bare, "--dry-run")
    made = outputs(told.stdout + told.stderr)
    assert len(made) > 10
    assert made == scheduled(bare)


def test_editing_a_method_runs_that_method_alone(project: Path) -> None:
    file = project / "methods" / "simans.py"
    file.write_text(file.read_text() + "\n# a change\n")
    made = scheduled(project)
    assert rows(made) == SIMANS
    assert len([path for path in made if path.startswith(f"{RUNS}/")]) == 2 * len(
        SIMANS
    )  # trained and evaluated
    assert len(models(made)) == len(SIMANS)
    assert all(path.startswith(("results/runs/tiny", str(BOARD), "results/tracking")) for path in made)


def test_editing_the_loop_runs_every_method_but_no_shared_stage(project: Path) -> None:
    file = project / "workflow" / "negmark" / "train" / "train.py"
    file.write_text(file.read_text() + "\n# a change\n")
    made = scheduled(project)
    assert len(models(made)) == len({*GOOD, *BAD, "heir", *TUNED})
    shared = ("results/datasets", "results/embeddings", "results/pools")
    assert not [path for path in made if path.startswith(shared)]


def test_an_edit_of_the_users_own_data_makes_all_that_hangs_on_it_anew(project: Path) -> None:
    """Also where a copy with an older time takes the place of a file."""
    file = project / "pydoc" / "corpus.jsonl"
    age = file.stat().st_mtime - 3600
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"_id": "new", "text": "one more document"}\n')
    os.utime(file, (age, age))
    made = scheduled(project)
    assert [path for path in made if path.startswith("results/datasets/pydoc")]
    assert len(models(made)) == len({*GOOD, *BAD, "heir", *TUNED})


def test_adding_a_seed_schedules_its_jobs_only(project: Path) -> None:
    write_suite(project, {**plain(), "seeds": [0, 1, 2], "tuned": True})
    made = scheduled(project)
    assert {Path(path).parts[5] for path in made if path.startswith(f"{RUNS}/")} == {"seed-2"}
    assert len(models(made)) == len({*GOOD, *BAD, "heir", *TUNED})


def test_a_trained_run_stays_whichever_job_it_was_part_of(project: Path) -> None:
    unstarted = {row: keys for row, keys in plain()["methods"].items() if not (keys or {}).get("start")}
    write_suite(project, {**plain(), "methods": unstarted, "seeds_per_job": 1})
    made = scheduled(project)
    assert made  # evaluated once more: a job's models are its inputs
    assert not [path for path in made if path.endswith(("model.safetensors", "negatives.parquet"))]
    write_suite(project, {**plain(), "seeds": [0, 1, 2, 3]})
    found = {tuple(Path(path).parts[4:6]) for path in models(scheduled(project))}
    assert found == {
        (row, "seed-2") for row in plain()["methods"]
    }  # named by its first output: seeds 2 and 3 in one


def test_a_parameter_of_one_row_touches_that_row_only(project: Path) -> None:
    changed = plain()
    changed["methods"]["simans"]["a"] = 1.0
    write_suite(project, changed)
    assert rows(scheduled(project)) == {"simans"}


def test_a_row_that_starts_from_another_leaves_that_one_alone(project: Path) -> None:
    changed = plain()
    changed["methods"]["later"] = {"method": "random", "start": "inbatch"}
    write_suite(project, changed)
    assert rows(scheduled(project)) == {"later"}


def test_a_dataset_without_training_asks_for_no_model(project: Path) -> None:
    changed = plain()
    changed["datasets"]["elsewhere"] = {"source": "./pydoc", "trained_on": "pydoc"}
    write_suite(project, changed)
    made = scheduled(project)
    assert [path for path in made if path.startswith("results/runs/tiny/elsewhere/")]
    assert not models(made)


def test_a_teacher_is_encoded_once_and_read_by_those_who_ask(project: Path) -> None:
    """A controlled SimANS doesn't."""
    changed = plain()
    changed["methods"]["guided"] = {"method": "gist"}
    write_suite(project, {**changed, "teacher": {**changed["encoder"], "document_length": 16}})
    made = scheduled(project)
    vectors = {path for path in made if path.startswith("results/embeddings") and path.endswith(".npy")}
    assert len({Path(path).parent for path in vectors if "/parts/" not in path}) == 1
    assert rows(made) == {"guided"}


def test_a_row_that_teaches_is_left_alone_and_a_change_of_it_reaches_those_it_teaches(project: Path) -> None:
    changed = plain()
    changed["methods"]["taught"] = {"method": "simans", "track": "faithful"}
    write_suite(project, {**changed, "teacher": {"row": "simans"}})
    made = scheduled(project)
    assert rows(made) == {"taught"}
    assert not [path for path in made if path.startswith("results/embeddings")]
    changed["methods"]["simans"]["a"] = 1.0
    write_suite(project, {**changed, "teacher": {"row": "simans"}})
    assert rows(scheduled(project)) == {"simans", "taught"}


def test_a_failing_row_is_tried_again_alone(failed: Path) -> None:
    made = scheduled(failed)
    tried = {Path(path).parts[4] for path in made if "/runs/" in path}
    assert tried == {*BAD, "heir"}


# --- damage -----------------------------------------------------------------------------------------------

CUT = {
    f"{RUNS}/random/seed-0/negatives.parquet": lambda size: size // 2,
    f"{RUNS}/inbatch/seed-1/run.trec.gz": lambda size: size - 1,
    f"{BOARD}/leaderboard.md": lambda size: 0,
}
LOST = f"{RUNS}/simans/seed-1/negatives.parquet"


def damage(project: Path) -> None:
    for name, size in CUT.items():
        os.truncate(project / name, size((project / name).stat().st_size))


def lose(project: Path) -> None:
    """Leave what a kill leaves while a damaged file is made again: Snakemake has removed it."""
    (project / NOTE).write_text(json.dumps([LOST]) + "\n")
    (project / LOST).unlink()


def test_cut_results_are_planned_with_what_hangs_on_them(project: Path) -> None:
    damage(project)
    made = scheduled(project)
    assert {path for path in made if path.startswith(f"{RUNS}/")} == {
        f"{RUNS}/random/seed-0/model.safetensors",
        f"{RUNS}/random/seed-0/metrics.json",
        f"{RUNS}/inbatch/seed-0/metrics.json",
    }  # a job is named by its first output
    assert f"{BOARD}/audit/pydoc.csv" in made
    assert f"{BOARD}/leaderboard.csv" in made
    assert (project / f"{BOARD}/leaderboard.md").read_bytes() == b"", "a dry run changes nothing"


def test_a_mended_file_that_a_kill_has_lost_is_planned(project: Path) -> None:
    """Snakemake would not miss a ledger that nothing waits for."""
    lose(project)
    assert f"{RUNS}/simans/seed-0/model.safetensors" in scheduled(project)


def test_damaged_and_lost_results_are_told_and_made_again(project: Path) -> None:
    write_suite(project, small())
    names = [*list(CUT)[:2], LOST]  # the board's table has measured seconds in it
    whole = {name: (project / name).read_bytes() for name in names}
    damage(project)
    lose(project)
    done = snakemake(project)
    for name in CUT:
        assert len([line for line in done.stderr.splitlines() if line.startswith(f"damaged: {name}: ")]) == 1
    assert f"damaged: {LOST}: missing: an earlier run was killed while rebuilding it" in done.stderr
    assert {name: (project / name).read_bytes() for name in names} == whole
    assert (project / f"{BOARD}/leaderboard.md").stat().st_size > 500
    assert json.loads((project / NOTE).read_text()) == []
    again = planned(project)
    assert "damaged:" not in again.stdout + again.stderr
    assert outputs(again.stdout + again.stderr) == set()
