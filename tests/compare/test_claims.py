"""Verdicts on claims, for runs with differences worked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builders import contents_file
from negmark.compare import claims
from negmark.compare.claims import judge, markdown, sentence
from negmark.compare.rising import Rise
from negmark.core.metrics import DEFAULT
from negmark.methods import registry
from negmark.methods.types import Claim
from negmark.store.contents import Contents
from negmark.store.query_scores import QueryScores
from score_rows import row, scores, write_run

QUERIES = ["unseen"] * 8


def claim(better: str = "a", worse: str = "b", metric: str = "nDCG@10") -> Claim:
    return Claim(better, worse, metric, condition="MS MARCO dev: .3 against .2", differs="other data")


def noisy(name: str, mean: float, key: int, **more: Any) -> Any:
    """Five runs whose scores vary by .02 over queries, far less than the means differ."""
    return row(name, *(mean + 0.02 * np.random.default_rng(key).normal(size=(5, 8))).tolist(), **more)


def dataset_of(*rows: Any) -> dict[str, QueryScores]:
    return {"d": scores(*rows, slices=QUERIES)}


HIGH, LOW, SAME = noisy("a", 0.6, 1), noisy("b", 0.4, 2), noisy("c", 0.4, 2)


def test_a_claim_is_reproduced_contradicted_or_not_shown() -> None:
    judged = judge({"x": (claim("a", "b"), claim("b", "a"), claim("b", "c"))}, dataset_of(HIGH, LOW, SAME))
    assert judged["verdict"].tolist() == ["reproduced", "contradicted", "not shown"]
    assert judged["difference"].tolist() == pytest.approx([0.2, -0.2, 0], abs=0.01)
    assert judged["claimed_by"].tolist() == ["x"] * 3
    assert (judged["queries"] == 40).all()
    assert sentence(judged) == (
        "Of 3 claims: 1 reproduced, 1 contradicted, 0 both, by dataset or tier, 1 not shown and 0 not testable here."
    )


def test_what_differs_by_dataset_is_neither() -> None:
    both = dataset_of(HIGH, LOW) | {"e": scores(noisy("a", 0.2, 3), LOW, slices=QUERIES)}
    judged = judge({"x": (claim(),)}, both)
    assert judged.set_index("dataset")["verdict"].to_dict() == {"d": "reproduced", "e": "contradicted"}
    assert "0 reproduced, 0 contradicted, 1 both" in sentence(judged)


@pytest.mark.parametrize("risen", ["a", "b"])
def test_a_pair_of_which_a_row_still_rose_is_compared_but_not_judged(risen: str) -> None:
    rises = {
        ("d", risen): Rise("nDCG@10", 0.007, 60, rising=True),
        ("d", "c"): Rise("nDCG@10", 0.001, 60, rising=False),
        ("e", "a"): Rise("nDCG@10", 0.2, 60, rising=True),
    }
    both = dataset_of(HIGH, LOW, SAME) | {"f": scores(SAME, LOW, slices=QUERIES)}
    judged = judge({"x": (claim("a", "b"), claim("b", "c"))}, both, rises)
    cut = judged.set_index(["better_row", "dataset"])
    first = cut.loc["a", "d"]
    assert (first["verdict"], first["reason"]) == (
        "not testable here", f"dev still rose, {risen} +0.007 over its last 60 steps"
    )  # fmt: skip
    assert first["difference"] == pytest.approx(0.2, abs=0.01)
    assert cut.loc[("b", "f"), "verdict"] == "not shown"
    assert f"not testable here (d, adapter, controlled): dev still rose, {risen} +0.007" in markdown(
        judged, "t"
    )
    assert sentence(judged).endswith("1 not shown and 1 not testable here."), (
        "not shown on f decides, whatever d says"
    )


def test_what_cannot_be_tested_says_why() -> None:
    other = noisy("z", 0.5, 4, tier="finetune")
    claims = (claim("a", "none"), claim("a", "b", "R@5"), claim("a", "z"))
    judged = judge({"x": claims}, dataset_of(HIGH, LOW, other))
    assert set(judged["verdict"]) == {"not testable here"}
    assert judged["reason"].tolist() == [
        "this suite has no row of none", "no dataset of this suite is judged by R@5",
        "no tier has a row of both a and z",
    ]  # fmt: skip
    assert judged["difference"].isna().all()
    text = markdown(judged, "tiny")
    assert "The paper: MS MARCO dev: .3 against .2. What differs: other data." in text
    assert "not testable here: this suite has no row of none." in text


def test_tracks_are_tested_separately_and_faithful_rows_meet_controlled_ones() -> None:
    faithful = noisy("a_faithful", 0.3, 5, track="faithful", **{"method": "a"})
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW, faithful))
    cut = judged.set_index("track")
    assert cut["verdict"].to_dict() == {"controlled": "reproduced", "faithful": "contradicted"}
    assert cut["worse_row"].to_dict() == {"controlled": "b", "faithful": "b"}


def test_p_is_adjusted_for_each_comparison_once() -> None:
    near = noisy("b", 0.596, 2)
    rows = dataset_of(noisy("a", 0.6, 1), near, noisy("c", 0.6, 7))
    one = judge({"x": (claim("a", "b"),)}, rows)
    twice = judge({"x": (claim("a", "b"),), "y": (claim("a", "b"),)}, rows)
    assert twice["adjusted"].tolist() == one["p"].tolist() * 2, "the same comparison is no second one"
    two = judge({"x": (claim("a", "b"), claim("a", "c"))}, rows)
    assert two["adjusted"].min() == pytest.approx(min(1, 2 * two["p"].min()))


def test_the_stage_reads_runs_and_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values in (("simans", [0.9, 0.8, 0.9]), ("random", [0.1, 0.2, 0.2])):
        for seed in (0, 1):
            write_run(tmp_path, name, seed, values)
    for name in ("untrained", "bm25_search"):
        write_run(tmp_path, name, None, [0.1, 0.2, 0.2])
    contents = Contents(suite="s", cards={"d": "x"}, rows=["simans", "random"], seeds=[0, 1])
    claims.main(contents_file(contents, tmp_path), tmp_path / "board")
    table = pd.read_csv(tmp_path / "board/claims.csv")
    assert set(table["claimed_by"]) == {name for name, kind in registry.available().items() if kind.claims}
    tested = table[table["dataset"] == "d"].iloc[0]
    assert (tested["better"], tested["worse"], tested["metric"]) == ("simans", "random", "R@100")
    assert tested["difference"] == pytest.approx(0.7), (
        "too few are unseen, so all rank: means 2.6 / 3 and .5 / 3"
    )
    assert (tmp_path / "board/claims.md").read_text().startswith("# Claims: s\n")


@pytest.mark.parametrize("name", sorted(registry.available()))
def test_claims_name_methods_and_metrics_that_are_here(name: str) -> None:
    for entry in registry.available()[name].claims:
        assert {entry.better, entry.worse} <= registry.available().keys()
        assert entry.metric in {*DEFAULT, "STS"}
        assert entry.condition
        assert entry.differs
