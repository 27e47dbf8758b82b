"""Files in a board's folder that an older version of its suite left: of datasets or figures that it no longer has."""

from pathlib import Path

from negmark.store.contents import Contents
from negmark.suite.figures import OF_DATASET, OF_SUITE, planned

KINDS = (".csv", ".pdf", ".png", ".svg", ".txt")
"""What a figure is kept as."""


def leftovers(folder: Path, contents: Contents) -> list[Path]:
    """Return the tables, cards and figures in a board's `folder` that aren't its own, but no files of other names."""
    tables = {
        "audit": (contents.trained(), [".csv"]),
        "cards": (contents.cards, [".json", ".md"]),
        "foresight": (contents.trained(), [".csv"]),
        "generated": (contents.generating, [".csv"]),
        "truth": (contents.hiding, [".csv"]),
    }
    old = [
        path
        for name, (datasets, kinds) in tables.items()
        for path in (folder / name).glob("*")
        if path.suffix in kinds and path.stem not in datasets
    ]
    wanted = planned(contents)
    drawn = [path for path in (folder / "figures").glob("*") if _is_figure(path) and path.stem not in wanted]
    return sorted([*old, *drawn])


def _is_figure(path: Path) -> bool:
    ours = path.stem in OF_SUITE or any(path.stem.endswith(f"-{name}") for name in OF_DATASET)
    return ours and path.suffix in KINDS
