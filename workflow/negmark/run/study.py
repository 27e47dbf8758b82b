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
from negmark.suite.study import study_of

CONFIGS = Path("results/studies")
BOARD = "all"
"""The target that makes boards, which are compared; any other is only handed on to each variant."""


def main(
    study: Annotated[str, Option(help="the config of the study, as JSON")],
    snakefile: Annotated[Path, Option(help="the Snakefile that runs each variant")],
    cores: Annotated[int, Option(help="cores of each snakemake")],
    target: Annotated[str, Option(help="what each variant is run for")] = BOARD,
) -> None:
    """Run all variants of a study and compare their boards."""
    found = study_of(json.loads(study), "the study")
    for number, variant in enumerate(found.variants, start=1):
        config = CONFIGS / found.name / f"{variant.suite}.json"
        write_text(config, json.dumps(variant.config, indent=2) + "\n")
        print(f"\n{found.name}: {', '.join(variant.labels)} ({number} of {len(found.variants)})", flush=True)
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--cores", str(cores)]
        if subprocess.run([*command, target, "--configfile", str(config)], check=False).returncode:
            raise UserError(
                f"{found.name}: the variant {', '.join(variant.labels)} failed (see above); the same command again "
                "goes on from there"
            )
    if target == BOARD:
        folder = Path(BOARDS) / found.name
        print(
            f"\n{write_study(found, folder)}\nThe study: {(folder / 'study.html').resolve().as_uri()}\n",
            flush=True,
        )


if __name__ == "__main__":
    stage.command(main)
