"""What an older version of a suite left in its board's folder."""

from pathlib import Path

from negmark.board.leftovers import leftovers
from negmark.store.contents import Contents

BOARD = Contents(
    suite="s",
    cards={"d": "d.json", "e": "e.json"},
    rows=["random"],
    seeds=[0],
    homes={"e": "d"},
    hiding=["d"],
)
BELONGS = [
    "audit/d.csv",
    "cards/d.md",
    "cards/e.json",
    "truth/d.csv",
    "figures/d-truth.svg",
    "figures/datasets.txt",
]
OLD = [
    "audit/old.csv",
    "cards/old.md",
    "figures/e-truth.svg",
    "figures/old-quality.svg",
    "foresight/e.csv",
    "truth/e.csv",
]
STRANGE = ["notes.md", "cards/old.txt", "figures/mine.png", "figures/d-quality.svg.bak"]


def test_files_of_datasets_and_figures_that_a_suite_no_longer_has_are_found_and_no_others(
    tmp_path: Path,
) -> None:
    for name in [*BELONGS, *OLD, *STRANGE]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert leftovers(tmp_path, BOARD) == [tmp_path / name for name in OLD]


def test_a_board_without_folders_has_none(tmp_path: Path) -> None:
    assert leftovers(tmp_path, BOARD) == []
