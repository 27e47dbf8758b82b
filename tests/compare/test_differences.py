"""Which rows are compared with what, and on which queries: against values worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders import contents_file
from negmark.board.findings import average
from negmark.compare.differences import MACRO, differences, main, read_differences, to_average
from negmark.compare.pairing import of_another_budget
from negmark.core.errors import UserError
from negmark.store.contents import Contents
from negmark.store.query_scores import Row, clusters_of, read_query_scores
from score_rows import row, scores, write_run

INBATCH = row("inbatch", [0.5, 0.2, 0.4], [0.5, 0.4, 0.2])
SIMANS = row("simans", [0.9, 0.3, 0.5], [0.9, 0.4, 0.4])
UNTRAINED = row("untrained", [0.1, 0.2, 0.2], track="baseline")


def of(table: pd.DataFrame, method: str, name: str, dataset: str = "d", tier: str = "adapter") -> pd.Series:
    chosen = table[
        (table["dataset"] == dataset)
        & (table["slice"] == name)
        & (table["row"] == method)
        & (table["tier"] == tier)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_every_slice_is_compared_by_its_own_queries() -> None:
    table = differences({"d": scores(INBATCH, SIMANS, UNTRAINED)}, ["d"], "inbatch")
    assert set(table["slice"]) == {"all", "seen", "unseen"}
    assert MACRO not in set(table["dataset"]), "one dataset has no average"
    assert of(table, "simans", "seen")["difference"] == pytest.approx(0.4)
    assert of(table, "simans", "unseen")["difference"] == pytest.approx((0.1 + 0.1 + 0 + 0.2) / 4)
    assert of(table, "simans", "all")["difference"] == pytest.approx((0.8 + 0.4) / 6)
    assert of(table, "untrained", "unseen")["difference"] == pytest.approx(0.2 - 0.3)
    assert of(table, "untrained", "unseen")["mean"] == pytest.approx(0.2)
    held = of(table, "inbatch", "unseen")
    assert pd.isna(held["difference"]), "the reference isn't held against itself"
    assert (held["reference"], of(table, "simans", "all")["reference"]) == ("", "inbatch")
    assert of(table, "simans", "all")["queries"] == 15


def test_tracks_and_tiers_are_families_of_their_own() -> None:
    rng = np.random.default_rng(0)
    runs = rng.random((6, 2, 3)).tolist()
    names = [
        ("inbatch", {}), ("simans", {}), ("cet", {}), ("cet_faithful", {"track": "faithful", "method": "cet"}),
        ("inbatch_finetune", {"tier": "finetune", "method": "inbatch"}),
        ("simans_finetune", {"tier": "finetune", "method": "simans"}),
    ]  # fmt: skip
    query_scores = scores(
        *(row(name, *values, **more) for (name, more), values in zip(names, runs, strict=True)), UNTRAINED
    )
    table = differences({"d": query_scores}, ["d"], "inbatch")
    cut = table[table["slice"] == "unseen"].set_index(["tier", "row"])
    assert cut["reference"].to_dict() == {
        ("adapter", "inbatch"): "", ("adapter", "simans"): "inbatch", ("adapter", "cet"): "inbatch",
        ("adapter", "cet_faithful"): "", ("adapter", "untrained"): "inbatch",
        ("finetune", "inbatch_finetune"): "", ("finetune", "simans_finetune"): "inbatch_finetune",
        ("finetune", "untrained"): "inbatch_finetune",
    }  # fmt: skip
    two = cut.loc[[("adapter", "simans"), ("adapter", "cet")], ["p", "adjusted"]]
    least = two["p"].min()
    assert two["adjusted"].min() == pytest.approx(min(2 * least, 1)), "Holm over the two of the track"
    assert math.isnan(cut.loc[("adapter", "cet_faithful"), "p"]), "its loss is its own"
    assert set(cut["groups"].loc[[("adapter", "untrained"), ("adapter", "cet_faithful")]]) == {""}
    assert (cut["groups"].loc[[("adapter", "cet"), ("adapter", "inbatch")]] != "").all()


def lossy(name: str, method: str, values: list[float], **conditions: object) -> Row:
    """A row of the faithful track."""
    runs = [[value, value / 2, value / 3] for value in values]
    return row(name, *runs, method=method, track="faithful", conditions=conditions)


def test_a_faithful_row_is_compared_with_the_references_method_under_its_own_loss() -> None:
    """By the numbers: .9 - .5 and .8 - .4 on the first query, of which the unseen have a half and a third."""
    star = lossy("star_faithful", "star", [0.9, 0.8], loss="star_faithful")
    lent = lossy("star_inbatch", "inbatch", [0.5, 0.4], loss="star_faithful")
    other = lossy("cet_faithful", "cet", [0.9, 0.7], loss="cet_faithful")
    longer = lossy("star_longer", "star", [0.9, 0.7], loss="star_faithful", steps=600)
    table = differences({"d": scores(INBATCH, star, lent, other, longer)}, ["d"], "inbatch")
    mine = table[table["slice"] == "seen"].set_index("row")
    assert mine["reference"].to_dict() == {
        "inbatch": "", "star_faithful": "star_inbatch", "star_inbatch": "", "cet_faithful": "", "star_longer": "",
    }  # fmt: skip
    assert mine.loc["star_faithful", "difference"] == pytest.approx(0.4)
    assert math.isnan(mine.loc["cet_faithful", "difference"])


def test_a_row_of_another_budget_is_compared_with_a_reference_of_the_same_and_is_of_no_group() -> None:
    twice = row("twice", [0.6, 0.3, 0.4], [0.6, 0.4, 0.3], method="inbatch", conditions={"steps": 600})
    chained = row("chained", [0.8, 0.3, 0.4], [0.9, 0.4, 0.3], method="adore", conditions={"steps": 600})
    own = row("own", [0.7, 0.3, 0.4], [0.7, 0.4, 0.3], conditions={"loss": "own", "depth": 9, "teacher": "x"})
    table = differences({"d": scores(INBATCH, SIMANS, own, twice, chained)}, ["d"], "inbatch")
    mine = table[table["slice"] == "all"].set_index("row")
    assert mine["reference"].to_dict() == {
        "inbatch": "", "simans": "inbatch", "own": "inbatch", "twice": "", "chained": "twice",
    }  # fmt: skip
    assert [name for name, letters in mine["groups"].items() if not letters] == ["twice", "chained"]
    assert of_another_budget(
        {name: one.about for name, one in scores(INBATCH, SIMANS, own, twice).rows.items()}
    ) == {"twice"}


def test_rows_of_the_faithful_track_share_how_long_they_train_and_no_more() -> None:
    recipes = [
        row(name, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], track="faithful", conditions=conditions)
        for name, conditions in {
            "star": {"loss": "star", "steps": 400, "training_queries": 25_600, "temperature": 0.05},
            "hcl": {"loss": "hcl", "steps": 400, "training_queries": 25_600, "temperature": 0.5},
            "adore_star": {
                "loss": "adore_star",
                "steps": 800,
                "training_queries": 51_200,
                "temperature": 0.05,
            },
            "small_batches": {"loss": "own", "steps": 400, "training_queries": 6_400, "temperature": 0.05},
        }.items()
    ]
    abouts = {name: one.about for name, one in scores(INBATCH, SIMANS, *recipes).rows.items()}
    assert of_another_budget(abouts) == {"adore_star", "small_batches"}


def test_without_a_reference_only_groups_are_filled() -> None:
    table = differences({"d": scores(row("a", [0.1, 0.2, 0.3], [0.1, 0.2, 0.4]), SIMANS)}, [], "inbatch")
    assert table["difference"].isna().all()
    assert (table[table["slice"] == "all"]["groups"] != "").all()


def test_the_average_weights_datasets_equally() -> None:
    other = scores(row("inbatch", [0.1], [0.3]), row("simans", [0.5], [0.9]), slices=["unseen"])
    table = differences({"d": scores(INBATCH, SIMANS), "e": other}, ["d", "e"], "inbatch")
    mean = of(table, "simans", "ranking", MACRO)
    assert mean["difference"] == pytest.approx((0.1 + 0.5) / 2), "of unseen queries .1 and .5"
    assert mean["mean"] == pytest.approx((0.4 + 0.7) / 2)
    assert average(table)["row"].tolist() == ["simans", "inbatch"]


def test_a_collection_counts_once_and_pairs_of_sentences_do_not() -> None:
    contents = Contents(
        suite="s", cards=dict.fromkeys(["scifact", "strict", "wordnet", "sts", "far"], ""), rows=["a"], seeds=[0],
        sentences=["sts"], homes={"far": "wordnet"},
    )  # fmt: skip
    cards = {
        "scifact": {"dataset": "scifact", "regime": "standard"}, "strict": {"dataset": "scifact", "regime": "strict"},
        "wordnet": {"dataset": "wordnet", "regime": "standard"}, "sts": {"dataset": "sts", "regime": "unsupervised"},
        "far": {"dataset": "nq", "regime": "zero-shot"},
    }  # fmt: skip
    assert to_average(cards, contents) == ["strict", "wordnet"]


@pytest.fixture
def contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contents:
    """Two methods of two seeds and two baselines, as a suite writes them."""
    monkeypatch.chdir(tmp_path)
    for name, made in (("inbatch", INBATCH), ("simans", SIMANS)):
        for seed, values in made.scores["nDCG@10"].items():
            write_run(tmp_path, name, seed, values[:3].tolist())
    for name in ("untrained", "bm25_search"):
        write_run(tmp_path, name, None, [0.1, 0.2, 0.2])
    cards = tmp_path / "board" / "cards"
    cards.mkdir(parents=True)
    (cards / "d.json").write_text(json.dumps({"dataset": "d", "regime": "standard"}))
    return Contents(suite="s", cards={"d": "x"}, rows=["inbatch", "simans"], seeds=[0, 1])


def test_run_files_become_a_table(contents: Contents, tmp_path: Path) -> None:
    output = tmp_path / "board" / "differences.csv"
    main(contents_file(contents, tmp_path), "inbatch", output)
    first = output.read_bytes()
    table = read_differences(output)
    assert of(table, "simans", "unseen")["difference"] == pytest.approx(0.1)
    assert of(table, "bm25_search", "unseen")["difference"] == pytest.approx(-0.1)
    assert of(table, "simans", "seen")["groups"] == "", "empty text, not a missing number"
    main(contents_file(contents, tmp_path), "inbatch", output)
    assert output.read_bytes() == first


def test_queries_that_share_a_positive_are_compared_as_one(contents: Contents) -> None:
    table = read_query_scores(contents, "d")
    assert clusters_of(table.of("simans", "nDCG@10", "unseen")).tolist() == [1, 1]
    assert clusters_of(table.of("simans", "nDCG@10", "all")).tolist() == [0, 1, 1]
    assert clusters_of(table.of("simans", "nDCG@10", "seen")) is None, "alone"


def test_runs_on_other_queries_are_named(contents: Contents, tmp_path: Path) -> None:
    write_run(tmp_path, "simans", 1, [0.1, 0.2, 0.3], queries="xyw")
    with pytest.raises(UserError, match=r"simans/seed-1/per_query.parquet: its queries are others"):
        read_query_scores(contents, "d")


def test_what_cannot_be_read_is_named(contents: Contents, tmp_path: Path) -> None:
    (tmp_path / "results/runs/s/d/simans/seed-0/per_query.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"simans/seed-0/per_query.parquet: can't be read"):
        read_query_scores(contents, "d")
    with pytest.raises(UserError, match=r"none.csv: can't be read as differences"):
        read_differences(tmp_path / "none.csv")
