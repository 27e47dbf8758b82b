"""The board of a study: boards side by side, one order held against another, and what is asked of odd studies."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from negmark.board import study as stage
from negmark.board import study_figures
from negmark.compare.differences import differences
from negmark.core.errors import UserError
from negmark.core.spreadsheet import csv
from negmark.store.contents import Contents
from negmark.store.query_scores import QueryScores, Row
from negmark.suite.study import Study, Variant

QUERIES = 60
MEANS = {"inbatch": 0.40, "random": 0.43, "top": 0.46, "simans": 0.49}


class FakeBoard:
    """A board of one dataset whose rows have given means, on queries that all of them find as hard."""

    def __init__(self, folder: Path, means: dict[str, float], seeds: int = 3, **about: Any) -> None:
        rng = np.random.default_rng(len(folder.name))
        hard = np.random.default_rng(1).normal(0, 0.1, QUERIES)
        unseen = about.pop("unseen", QUERIES)
        rows = {}
        for name, mean in means.items():
            said = {
                "row": name,
                "title": name.upper(),
                "method": name,
                "tier": "static",
                "track": "controlled",
                "conditions": {"loss": "info_nce", "depth": None, "steps": 300},
            }
            said |= {key: value.get(name, said[key]) for key, value in about.items()}
            seeded = {seed: mean + hard + rng.normal(0, 0.005, QUERIES) for seed in range(seeds)}
            rows[name] = Row(said, {"nDCG@10": seeded})
        slices = np.array(["unseen"] * unseen + ["seen"] * (QUERIES - unseen))
        self.scores = QueryScores("nDCG@10", slices, rows, [f"q{place}" for place in range(QUERIES)])
        self.folder = folder
        folder.mkdir(parents=True)
        table = differences({"wordnet": self.scores}, ["wordnet"], "inbatch")
        (folder / "differences.csv").write_text(csv(table))
        self.table = pd.DataFrame(
            [
                {"dataset": "wordnet", "row": name, "status": "ok", "test_queries/unseen": unseen, "rank": 1,
                 "train_seconds": 2.0,
                 **{f"nDCG@10/{part}/{kind}": mean + way * 0.05
                    for part in ("all", "unseen", "seen") for kind, way in (("low", -1), ("high", 1))}}
                for name, mean in means.items()
            ]
        )  # fmt: skip
        self.contents = Contents(
            suite=folder.name, cards={"wordnet": "card"}, rows=list(means), seeds=list(range(seeds))
        )

    def query_scores(self, dataset: str) -> QueryScores:
        assert dataset == "wordnet"
        return self.scores


def written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    boards: dict[tuple[str, ...], dict[str, Any]],
    against: str | None = None,
    axes: tuple[str, ...] = ("width",),
    base: tuple[str, ...] | None = None,
) -> Path:
    """Write a study of boards by their labels and return its folder."""
    made = {
        labels: FakeBoard(folder / "boards" / "-".join(labels), **settings)
        for labels, settings in boards.items()
    }
    by_name = {board.folder.name: board for board in made.values()}
    monkeypatch.setattr(stage, "open_board", lambda name, root: by_name[name])
    named = {axis: list(dict.fromkeys(labels[place] for labels in boards)) for place, axis in enumerate(axes)}
    variants = [Variant(labels, {"suite": board.folder.name}) for labels, board in made.items()]
    stage.write_study(Study("s", named, against, variants, base), folder / "study")
    return folder / "study"


def test_rows_of_all_variants_stand_side_by_side(tmp_path: Path, monkeypatch) -> None:
    folder = written(tmp_path, monkeypatch, {("32",): {"means": MEANS}, ("64",): {"means": MEANS}})
    rows = pd.read_csv(folder / "study.csv", dtype={"vary.width": str})
    assert rows.groupby("vary.width")["row"].apply(list).to_dict() == {"32": list(MEANS), "64": list(MEANS)}
    top = rows[rows["row"] == "top"].iloc[0]
    assert top["difference"] == pytest.approx(0.06, abs=0.003)
    assert top["difference_low"] < top["difference"] < top["difference_high"]
    text = (folder / "study.md").read_text()
    assert "SIMANS is above INBATCH everywhere." in text
    assert (folder / "figures" / "wordnet-response.svg").is_file()
    assert not (folder / "agreement.csv").exists()


@pytest.mark.parametrize("axis", ["tier", "dataset", "row", "rows", "mean", "first"])
def test_an_axis_may_have_the_name_of_a_column(tmp_path: Path, monkeypatch, axis: str) -> None:
    turned = {**MEANS, "simans": 0.41}
    boards = {("cheap",): {"means": turned}, ("dear",): {"means": MEANS}}
    folder = written(tmp_path, monkeypatch, boards, "dear", (axis,))
    rows = pd.read_csv(folder / "study.csv")
    assert set(rows[f"vary.{axis}"]) == {"cheap", "dear"}
    assert set(rows["tier"]) == {"static"}
    order = pd.read_csv(folder / "agreement.csv").iloc[0]
    # of six pairs, the two of simans with random and with top are turned: (4 - 2) / 6
    assert (order[f"vary.{axis}"], order["rows"]) == ("cheap", 4)
    assert order["tau"] == pytest.approx(2 / 6)
    pairs = pd.read_csv(folder / "pairs.csv")
    assert set(pairs.loc[pairs["verdict"] == "both, the other way round", "second"]) == {"simans"}
    assert "RANDOM over SIMANS; TOP over SIMANS." in (folder / "study.md").read_text()


def test_rows_of_one_title_are_told_apart_by_their_track(tmp_path: Path, monkeypatch) -> None:
    settings = {
        "means": {"inbatch": 0.4, "simans": 0.45, "simans_faithful": 0.35, "plain_faithful": 0.4},
        "title": {"simans_faithful": "SIMANS", "plain_faithful": "PLAIN"},
        "track": {"simans_faithful": "faithful", "plain_faithful": "faithful"},
        "method": {"plain_faithful": "inbatch"},
    }
    folder = written(tmp_path, monkeypatch, {("a",): settings, ("b",): settings})
    text = (folder / "study.md").read_text()
    assert "SIMANS is above INBATCH everywhere." in text
    assert "SIMANS (faithful) is above PLAIN (faithful) nowhere, below it at a and b." in text


def test_two_axes_give_a_panel_each_and_a_row_that_one_variant_lacks_is_left_out_there(
    tmp_path: Path, monkeypatch
) -> None:
    fewer = {name: mean for name, mean in MEANS.items() if name != "top"}
    boards = {(a, b): {"means": fewer if (a, b) == ("x", "1") else MEANS} for a in "xy" for b in "12"}
    folder = written(tmp_path, monkeypatch, boards, axes=("table", "steps"))
    rows = pd.read_csv(folder / "study.csv", dtype=str)
    assert len(rows) == 4 * 4 - 1
    assert "TOP is above INBATCH everywhere." in (folder / "study.md").read_text()


def test_one_seed_has_values_and_no_verdicts(tmp_path: Path, monkeypatch) -> None:
    boards = {("a",): {"means": MEANS, "seeds": 1}, ("b",): {"means": MEANS, "seeds": 1}}
    folder = written(tmp_path, monkeypatch, boards)
    text = (folder / "study.md").read_text()
    assert "above" not in text
    assert "\n.\n" not in text


def test_other_unseen_queries_are_refused(tmp_path: Path, monkeypatch) -> None:
    boards = {("a",): {"means": MEANS, "unseen": 40}, ("b",): {"means": MEANS}}
    with pytest.raises(
        UserError, match="a and b: wordnet has other test queries, other unseen ones or another metric"
    ):
        written(tmp_path, monkeypatch, boards, "b")


def test_too_few_rows_in_common_are_refused(tmp_path: Path, monkeypatch) -> None:
    two = {name: MEANS[name] for name in ("inbatch", "random")}
    with pytest.raises(
        UserError, match="s: b: no dataset has 3 rows that it and another variant have in common"
    ):
        written(tmp_path, monkeypatch, {("a",): {"means": two}, ("b",): {"means": MEANS}}, "b")


def test_a_sweep_has_a_section_and_a_figure_for_each_key_and_compares_values_with_the_own(
    tmp_path: Path, monkeypatch
) -> None:
    fewer = {name: mean for name, mean in MEANS.items() if name != "top"}
    better = {**MEANS, "simans": 0.55}
    boards = {
        ("8", "0.05"): {"means": MEANS},
        ("16", "0.05"): {"means": better},
        ("8", "0.1"): {"means": fewer},
    }
    keys = ("negatives", "temperature")
    folder = written(tmp_path, monkeypatch, boards, axes=keys, base=("8", "0.05"))
    effects = pd.read_csv(folder / "effects.csv").set_index(["key", "value", "row"])
    assert set(effects.loc["negatives"].index) == {(16.0, name) for name in MEANS}
    assert set(effects.loc["temperature"].index) == {(0.1, name) for name in fewer}
    up = effects.loc[("negatives", 16.0, "simans")]
    assert up["difference"] == pytest.approx(0.06, abs=0.003)
    assert up["low"] < up["difference"] < up["high"]
    assert up["p"] < 0.05 < effects.loc[("negatives", 16.0, "top"), "p"]
    text = (folder / "study.md").read_text()
    negatives, temperature = text.split("## wordnet: ")[1:]
    assert negatives.startswith("negatives\n")
    assert "SIMANS, against negatives 8: +0.06" in negatives
    assert "No difference from negatives 8 is shown of INBATCH, RANDOM and TOP." in negatives
    assert "TOP" not in temperature  # one value of the key has no such row
    for key in keys:
        assert (folder / "figures" / f"wordnet-{key}.svg").is_file()
        assert f"figures/wordnet-{key}.svg" in text
    assert "own (negatives 8 and temperature 0.05)" in text


def test_a_comparison_without_effects_leaves_none_of_an_earlier_one(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "effects.csv").write_text("old")
    folder = written(tmp_path, monkeypatch, {("32",): {"means": MEANS}, ("64",): {"means": MEANS}})
    assert not (folder / "effects.csv").exists()


def test_a_line_joins_amounts_of_one_kind_alone() -> None:
    places = ["random 32", "random 512", "glove 50", "words 384"]
    part = pd.DataFrame({"table": places, "difference": 0.1, "difference_low": 0.0, "difference_high": 0.2})
    axes = Figure().subplots()
    study_figures._line(axes, part, "table", places, 0, 1)
    assert [len(drawn.lines[0].get_xdata()) for drawn in axes.containers] == [2, 1, 1]
    study_figures._line(axes, part.assign(table=["1", "4", "8", "16"]), "table", ["1", "4", "8", "16"], 0, 1)
    assert len(axes.containers[-1].lines[0].get_xdata()) == 4
