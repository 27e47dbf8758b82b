"""Runs a study: each variant as a suite of its own by a snakemake of its own, then the comparison of their boards.

The variants run one after the other, so that each has all cores and none a plan of thousands of jobs. What they share
(datasets, vectors, pools) lies in folders named by content, so it is made once. A variant's whole config is left in
`results/studies/<study>/`, and runs alone too: `snakemake --configfile results/studies/<study>/<variant>.json`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from negmark.board.study import write_study
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import write_text
from negmark.suite.paths import BOARDS
from negmark.suite.study import FEWEST_LABELS, Study, Variant, study_from

CONFIGS = Path("results/studies")
BOARD = "all"
"""The target that makes boards, which are compared; any other is only handed on to each variant."""


def main(
    study: Annotated[str, Option(help="the study, as JSON")],
    snakefile: Annotated[Path, Option(help="the Snakefile that runs each variant")],
    cores: Annotated[int, Option(help="cores of each snakemake")],
    target: Annotated[str, Option(help="what each variant is run for")] = BOARD,
) -> None:
    """Run all variants of a study and compare their boards."""
    found = study_from(json.loads(study))
    failed = []
    for number, variant in enumerate(found.variants, start=1):
        print(f"\n{found.name}: {variant.label} ({number} of {len(found.variants)})", flush=True)
        if not _done(
            found, variant, [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)], cores, target
        ):
            failed.append(variant)
    if target == BOARD:
        _compare(found._replace(variants=[one for one in found.variants if _board_of(one).is_file()]))
    if failed:
        raise UserError(
            f"{found.name}: failed: {', '.join(variant.label for variant in failed)} (see above); the same command "
            "again tries them"
        )


def _done(study: Study, variant: Variant, command: list[str], cores: int, target: str) -> bool:
    """Run a variant and say whether it ended well; one that has tuned first runs once more, for its board."""
    config = CONFIGS / study.name / f"{variant.suite}.json"
    write_text(config, json.dumps(variant.config, indent=2) + "\n")
    whole = [*command, "--cores", str(cores), target, "--configfile", str(config)]
    well = subprocess.run(whole, check=False).returncode == 0
    if well and target == BOARD and not _board_of(variant).is_file():
        return subprocess.run(whole, check=False).returncode == 0
    return well


def _compare(study: Study) -> None:
    labels = {variant.labels[0] for variant in study.variants}
    if len(study.variants) < FEWEST_LABELS or study.against not in {None, *labels}:
        print(f"\n{study.name}: too few variants have a board to compare", flush=True)
        return
    folder = Path(BOARDS) / study.name
    print(
        f"\n{write_study(study, folder)}\nThe study: {(folder / 'study.html').resolve().as_uri()}\n",
        flush=True,
    )


def _board_of(variant: Variant) -> Path:
    return Path(BOARDS) / variant.suite / "leaderboard.csv"


if __name__ == "__main__":
    stage.command(main)
