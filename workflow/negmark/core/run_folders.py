"""The folder of a run, which is named after its seed."""

from pathlib import Path

SEED = "seed-"


def run_folder(seed: int) -> str:
    """Return the name of a seed's run folder."""
    return f"{SEED}{seed}"


def seed_of(folder: Path) -> int:
    """Return the seed that a run's folder is named after."""
    return int(folder.name.removeprefix(SEED))
