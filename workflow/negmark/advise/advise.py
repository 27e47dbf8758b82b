"""Advice on a user's own collection within a time: prepare it, plan what fits, tune, make a board, say what follows.

Each part is a snakemake of its own, so that after a kill the same command goes on. The plan is kept in
`results/advice/<suite>/plan.json` and made anew when the config changes. How fast this machine is, is measured before
the plan and again by the trials: then seeds that don't fit are left out.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from typer import Option

from negmark.advise.asked import CONFIG, Asked, asked_from
from negmark.advise.budget import Clock, fitting, seeds_that_fit
from negmark.advise.choice import Choice, choice
from negmark.advise.designs import Found, Plan, plans, whole_config, with_fewer_seeds
from negmark.advise.page import page
from negmark.advise.splits import with_test_split
from negmark.advise.suspects import suspects
from negmark.advise.words import Advice, terminal, time_words
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, short_hash, write_json, write_text
from negmark.core.notation import clock, listed
from negmark.core.run_folders import run_folder
from negmark.core.spreadsheet import read_table
from negmark.evaluate.audit import WHOLE_RUN
from negmark.plan.machine import machine_of
from negmark.plan.sizes import size_of
from negmark.store.contents import read_contents
from negmark.suite.checks import export_folders, load
from negmark.suite.layout import Layout
from negmark.suite.paths import BOARDS
from negmark.suite.suite import Suite

PLAN, PAGE, TEXT = "plan.json", "advice.html", "advice.txt"
TUNED = "tuned.json"


@dataclass
class Course:
    """Where a call stands: the plan, and the seconds that it and the calls before it took."""

    asked: Asked
    snakefile: Path
    cores: int
    began: float
    spent: float = 0.0
    """Seconds of earlier calls."""
    planned: float = 0.0
    pace: float | None = None
    """Seconds that the trials took, over those that were planned."""
    finished: bool = False
    """Was the advice given before? Then its time is what it took then."""

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.spent if self.finished else self.spent + time.time() - self.began

    @property
    def left(self) -> float:
        """Seconds left of what the user gives; none may be."""
        return 60 * self.asked.settings.minutes - self.seconds

    def keep(self, plan: Plan) -> None:
        """Write down the plan and the time, from which the same command goes on."""
        kept = {
            "asked": asked_hash(self.asked), "config": plan.config, "left_out": plan.left_out,
            "planned": self.planned, "spent": self.seconds, "pace": self.pace,
            "finished": self.finished,
        }  # fmt: skip
        write_json(self.asked.folder / PLAN, kept)
        write_text(self.asked.folder / CONFIG, json.dumps(plan.config, indent=2) + "\n")

    def run(self, config: Mapping[str, Any], *targets: str) -> bool:
        """Run a snakemake on a config and say whether it ended well."""
        file = self.asked.folder / CONFIG
        write_text(file, json.dumps(config, indent=2) + "\n")
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(self.snakefile),
            "--cores",
            str(self.cores),
        ]
        return subprocess.run([*command, *targets, "--configfile", str(file)], check=False).returncode == 0


def asked_hash(asked: Asked) -> str:
    """Return what stands for a question: the config and the files of the user's own data, which a plan rests on."""
    datasets = load(whole_config(asked), asked.file).datasets.values()
    named = [[*one.own_files, *one.given_files, *one.verdict_files] for one in datasets]
    files = [file for each in named for file in map(Path, each) if file.is_file()]
    stamps = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return short_hash([asked.as_json(), stamps])


def main(
    asked: Annotated[str, Option(help="what is asked, as JSON")],
    snakefile: Annotated[Path, Option(help="the Snakefile that makes the board")],
    cores: Annotated[int, Option(help="cores of each snakemake")],
) -> None:
    """Say which negatives to take on a collection."""
    course = Course(asked_from(asked), snakefile, cores, time.time())
    plan, timing = _plan(course)
    plan = _tuned(course, plan, timing)
    layout = _layout(plan, course)
    done = course.run(plan.config, "all")
    board = Path(layout.paths.board)
    table = board / "leaderboard.csv"
    if not table.is_file() or not (done or table.stat().st_mtime >= course.began):
        raise UserError(_stopped(course, "the board"))
    advices = _advices(course, plan, layout, board)
    course.spent = course.seconds
    course.finished = True
    course.keep(plan)
    told = time_words(course.seconds, course.asked.settings.minutes, course.planned, plan.left_out)
    if not done:
        told = [
            *told,
            "Some runs failed, and the board is made without them (see above); the same command tries them.",
        ]
    folder = course.asked.folder
    write_text(folder / PAGE, page(course.asked.suite, advices, told, board))
    text = terminal(advices, told, folder / PAGE)
    write_text(folder / TEXT, text)
    print(text, flush=True)


def _plan(course: Course) -> tuple[Plan, Clock | None]:
    """Return the plan of an earlier call for the same config, or make one, with what tells how long its parts take."""
    file = course.asked.folder / PLAN
    if file.is_file():
        kept = read_json(file)
        if kept["asked"] == asked_hash(course.asked):
            course.spent, course.planned, course.pace = kept["spent"], kept["planned"], kept["pace"]
            course.finished = kept["finished"]
            return Plan(kept["config"], kept["left_out"]), None
    # trials of an earlier plan may be of other settings
    Path(BOARDS, course.asked.suite, TUNED).unlink(missing_ok=True)
    asked, set_aside = _with_tests(course.asked)
    whole = whole_config(asked)
    layout = Layout(_checked(whole, course))
    if not course.run(whole, *(layout.paths.card(dataset) for dataset in layout.datasets.values())):
        raise UserError(_stopped(course, "the collection"))
    found = {name: found_of(layout, name) for name in layout.datasets}
    timing = Clock(*machine_of(layout, course.cores), found, course.cores)
    chosen, course.planned = fitting(plans(asked, found), timing, course.left)
    notes = [
        f"{name}: {count} queries of training, of which a test split was made"
        for name, count in set_aside.items()
    ]
    chosen = Plan(chosen.config, [*chosen.left_out, *notes])
    course.planned += course.seconds
    course.keep(chosen)
    _say_plan(course, chosen)
    return chosen, timing


def _with_tests(asked: Asked) -> tuple[Asked, dict[str, int]]:
    """Return the config with a test split for datasets that have none, and how many queries each takes."""
    made = {name: with_test_split(name, entry) for name, entry in asked.config["datasets"].items()}
    config = {**asked.config, "datasets": {name: entry for name, (entry, _) in made.items()}}
    aside = {name: count for name, (_, count) in made.items() if count}
    return Asked(asked.suite, asked.settings, config, asked.file), aside


def _tuned(course: Course, plan: Plan, timing: Clock | None) -> Plan:
    """Run the trials of a plan, and return it with as many seeds as the rest of the time allows."""
    if not plan.config["tuned"] or Path(BOARDS, course.asked.suite, TUNED).is_file():
        return plan
    began = time.time()
    if not course.run(plan.config, "tune"):
        raise UserError(_stopped(course, "the trials"))
    if timing is None:  # of an earlier call that was cut off
        return plan
    course.pace = (time.time() - began) / timing.seconds(plan, "preparing", "tuning")
    if "seeds" not in course.asked.config:
        seeds = seeds_that_fit(plan, timing, course.pace, course.left)
        if seeds < len(plan.config["seeds"]):
            plan = with_fewer_seeds(plan, seeds)
    course.keep(plan)
    return plan


def found_of(layout: Layout, name: str) -> Found:
    """Return what the card of a prepared dataset says."""
    dataset = layout.datasets[name]
    path = Path(layout.paths.card(dataset))
    card = read_json(path)
    dev = card["queries"]["dev"]
    return Found(size_of(name, dataset.decides, path), dev, card["labels"], dev - card["queries_full"]["dev"])


def _advices(course: Course, plan: Plan, layout: Layout, board: Path) -> list[Advice]:
    """Return what to take on each dataset, with the file of its negatives."""
    frame, contents = read_table(board / "leaderboard.csv"), read_contents(board / "contents.json")
    without = [row.name for row in layout.rows.values() if not row.gives_documents]
    chosen = [
        choice(frame[frame["dataset"] == name].reset_index(drop=True), contents.controls, without)
        for name in contents.trained()
    ]
    files = {one.dataset: _file(layout, one, course.asked) for one in chosen if one.file_row is not None}
    if files and not course.run(plan.config, *map(str, files.values())):
        raise UserError(_stopped(course, "the file of negatives"))
    return [_advice(layout, one, files.get(one.dataset), board) for one in chosen]


def _file(layout: Layout, one: Choice, asked: Asked) -> Path:
    assert one.file_row is not None
    folder = Path("results/negatives", asked.suite, one.dataset, one.file_row["row"])
    return folder / run_folder(layout.suite.seeds[0]) / asked.settings.file


def _advice(layout: Layout, one: Choice, file: Path | None, board: Path) -> Advice:
    dataset = layout.datasets[one.dataset]
    if file is None or one.file_row is None:
        return Advice(one, {}, dataset.hides_labels, None, [])
    row = one.file_row["row"]
    run = Path(layout.paths.runs, one.dataset, row, run_folder(layout.suite.seeds[0]))
    record = file.with_name(f"{file.name}.about.json")
    found = suspects(run, Path(layout.paths.collection(dataset)), Path(layout.paths.vectors(dataset)))
    audit = _audited(read_table(board / "audit" / f"{one.dataset}.csv"), row)
    return Advice(one, audit, dataset.hides_labels, found, [file, record], read_json(record))


def _audited(table: pd.DataFrame, row: str) -> dict[str, float]:
    """Return the audit of a row's whole runs, as means over seeds."""
    mine = table[(table["row"] == row) & (table["window"] == WHOLE_RUN)]
    return {str(name): float(value) for name, value in mine.mean(numeric_only=True).items()}


def _layout(plan: Plan, course: Course) -> Layout:
    return Layout(_checked(plan.config, course))


def _checked(config: Mapping[str, Any], course: Course) -> Suite:
    suite = load(config, course.asked.file)
    export_folders(suite)
    return suite


def _say_plan(course: Course, plan: Plan) -> None:
    given = clock(60 * course.asked.settings.minutes)
    text = (
        f"advice: planned {clock(course.planned)} of {given}: {listed(list(plan.config['methods']))}; "
        f"{plan.config['static']['steps']} steps, {len(plan.config['seeds'])} seeds, "
        f"{'tuned' if plan.config['tuned'] else 'not tuned'}"
    )
    left = f"; left out: {'; '.join(plan.left_out)}" if plan.left_out else "; nothing is left out"
    print(f"\n{text}{left}\n", flush=True)


def _stopped(course: Course, what: str) -> str:
    return (
        f"{course.asked.suite}: {what} could not be made (see above); fix it, then the same command goes on"
    )


if __name__ == "__main__":
    stage.command(main)
