"""Trials of tuning as they lie on disk: a row with other settings and a seed, and its scores on the dev queries."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from negmark.core.errors import UserError
from negmark.core.files import read_json, write_json


class Trial(BaseModel):
    """A row trained once with other settings, and what it reached on the dev split."""

    factor: float
    """Factor of the row's learning rate."""
    params: dict[str, Any]
    """Parameters that are not the row's own; empty in the search for the rate."""
    seed: int
    values: list[float] = []
    """The metric of each dev query that decides, in the order of the split; empty for a trial that failed."""
    failure: str = ""
    """Why it has none: it diverged, or couldn't run with these settings."""
    vectors: int = 0
    """Vectors that it took from the encoder."""
    searches: int = 0


class Trials(BaseModel):
    """The trials of a row on a dataset."""

    slice: str
    """The dev queries that decide: `all` or `unseen`."""
    trials: list[Trial]


def write_trials(path: Path, trials: Trials) -> None:
    """Write trials; equal trials give equal bytes."""
    write_json(path, trials.model_dump(mode="json"))


def read_trials(path: Path) -> Trials:
    """Read what `write_trials` wrote. Raises `UserError` if it is something else."""
    try:
        return Trials.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: no trials ({error}); delete it and run again") from None
