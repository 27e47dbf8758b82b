"""A study run whole: a board for each variant, and the comparison of them, again after a variant has changed."""

import copy
import json
from pathlib import Path

import pandas as pd
import pytest

from tiny import SUITE, copy_project, snakemake, write_suite

BOARDS = Path("results/leaderboards")


def test_a_study_of_two_tiers_holds_one_order_against_the_other(tmp_path: Path) -> None:
    suite = copy.deepcopy(SUITE) | {
        "static": {"steps": 8, "batch_size": 8, "negatives": 2, "learning_rate": 1e-2}
    }
    suite |= {"vary": {"tier": {"cheap": {}, "dear": {"tier": "static"}}}, "against": "dear"}
    copy_project(tmp_path)
    write_suite(tmp_path, suite)
    said = snakemake(tmp_path)
    boards = {
        name: pd.read_csv(tmp_path / BOARDS / f"tiny-{name}" / "leaderboard.csv")
        for name in ("cheap", "dear")
    }
    folder = tmp_path / BOARDS / "tiny"
    rows = pd.read_csv(folder / "study.csv")
    for name, board in boards.items():
        mine = rows[rows["vary.tier"] == name]
        assert set(mine["row"]) <= set(board["row"])
        shared = mine.merge(board, on=["dataset", "row"])
        assert len(shared) >= len(SUITE["methods"])
    order = pd.read_csv(folder / "agreement.csv")
    assert order[["vary.tier", "dataset", "rows"]].values.tolist() == [["cheap", "pydoc", 3]]
    assert len(pd.read_csv(folder / "pairs.csv")) == 3
    assert (folder / "figures" / "pydoc-agreement.svg").is_file()
    page = (folder / "study.html").read_text(encoding="utf-8")
    assert "../tiny-dear/leaderboard.html" in page
    assert "tau-b" in said.stdout + said.stderr
    config = json.loads((tmp_path / "results/studies/tiny/tiny-dear.json").read_text())
    assert (config["suite"], config["tier"], "vary" in config) == ("tiny-dear", "static", False)


@pytest.mark.slow
def test_a_sweep_makes_a_board_a_value_and_says_what_each_changes(tmp_path: Path) -> None:
    suite = copy.deepcopy(SUITE) | {"sweep": {"negatives": [1]}}
    own = suite["training"]["negatives"]
    copy_project(tmp_path)
    write_suite(tmp_path, suite)
    snakemake(tmp_path)
    folder = tmp_path / BOARDS / "tiny"
    rows = pd.read_csv(folder / "study.csv")
    assert rows.groupby("suite")["vary.negatives"].unique().map(list).to_dict() == {
        "tiny-base": [own], "tiny-negatives-1": [1],
    }  # fmt: skip
    effects = pd.read_csv(folder / "effects.csv")
    assert set(effects["value"]) == {1}
    trained = rows[rows["track"] != "baseline"].pivot(index="row", columns="suite", values="mean")
    changes = trained["tiny-negatives-1"] - trained["tiny-base"]
    assert effects.set_index("row")["difference"].to_dict() == pytest.approx(changes.to_dict(), abs=1e-9)
    page = (folder / "study.html").read_text(encoding="utf-8")
    assert "pydoc: negatives" in page
    assert (folder / "figures" / "pydoc-negatives.svg").is_file()
