"""What is on a board, and which files its runs leave."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_text
from negmark.core.names import BASELINES, LEXICAL
from negmark.core.run_folders import run_folder
from negmark.store.failures import FailedRow


class Comparison(BaseModel):
    """Methods that two tiers have in common in one track: the row of each in the cheap and in the costly tier."""

    cheap: str
    costly: str
    track: str
    rows: list[tuple[str, str]]


class Contents(BaseModel):
    """What is on a board: enough to name every file of its runs."""

    suite: str
    cards: dict[str, str]
    """The card of each dataset, by its name."""
    rows: list[str]
    seeds: list[int]
    tiers: dict[str, str] = {}
    """The tier of each row, by its name."""
    sentences: list[str] = []
    """The datasets of sentences, without a corpus to search and so without a lexical baseline."""
    homes: dict[str, str] = {}
    """The datasets that are only evaluated, each with the one its runs are trained on."""
    controls: list[str] = []
    """The rows that see more labels than a method can, so that nobody can choose them."""
    untuned: list[str] = []
    """The rows that stand as they are below tuned ones, without a rank."""
    comparisons: list[Comparison] = []
    """Which rows of two tiers are one method."""

    curved: list[str] = []
    """The datasets whose runs leave learning curves."""

    hiding: list[str] = []
    """The datasets that hide something from training, so that false negatives are known."""

    generating: Annotated[list[str], Field(exclude_if=lambda names: not names)] = []
    """The datasets of whose positives texts are made, as negatives."""

    failed: list[FailedRow] = []
    """The rows without numbers, each with the dataset where it has none."""

    def trained(self) -> list[str]:
        """Return the datasets that are trained on."""
        return [name for name in self.cards if name not in self.homes]

    def runs(self, *datasets: str) -> list[Path]:
        """Return the folders of the trained runs of these datasets, or of all."""
        failed = {(one.dataset, one.row) for one in self.failed}
        return [
            Path("results/runs", self.suite, name, row, run_folder(seed))
            for name in datasets or self.cards
            for row in self.rows
            if (name, row) not in failed
            for seed in self.seeds
        ]

    def baselines(self, *datasets: str) -> list[Path]:
        """Return the folders of the baselines' evaluations of these datasets, or of all."""
        return [
            Path("results/runs", self.suite, name, baseline)
            for name in datasets or self.cards
            for baseline in BASELINES
            if not (baseline == LEXICAL and name in self.sentences)
        ]

    def curves(self) -> list[Path]:
        """Return the paths of the learning curves of all runs, where the suite asks for them."""
        return [run / "dev.parquet" for name in self.curved for run in self.runs(name)]

    def files(self, name: str, *datasets: str) -> list[Path]:
        """Return the paths of a file that every run and every baseline has."""
        return [folder / name for folder in [*self.runs(*datasets), *self.baselines(*datasets)]]


def read_contents(path: Path) -> Contents:
    """Read the contents.json of a board. Raises `UserError` if it is not one."""
    try:
        return Contents.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: not the contents of a board ({error}); delete it and run again") from None


def main(
    contents: Annotated[str, Option(help="what is on the board, as JSON")],
    output: Annotated[Path, Option(help="the contents.json to write")],
) -> None:
    """Write down what is on a board, for all that read its runs."""
    # not with sorted keys: datasets are shown in this order
    write_text(output, Contents.model_validate_json(contents).model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    stage.command(main)
