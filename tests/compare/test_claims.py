"""Verdicts on claims, for runs with differences worked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builders import contents_file
from negmark.compare import claims
from negmark.compare.claims import NOT_TESTABLE, Doubts, chance_text, judge, markdown, read_claims, sentence
from negmark.compare.inference import compare, compare_average
from negmark.compare.rising import Rise
from negmark.compare.undertrained import below_start
from negmark.core.metrics import DEFAULT
from negmark.core.names import records
from negmark.methods import registry
from negmark.methods.types import Claim
from negmark.store.contents import Contents
from negmark.store.query_scores import QueryScores, Row
from negmark.train.counters import Counters
from score_rows import row, scores
from score_rows import write_run as write_scores

QUERIES = ["unseen"] * 8


def claim(better: str = "a", worse: str = "b", metric: str = "nDCG@10", **more: Any) -> Claim:
    return Claim(better, worse, metric, condition="MS MARCO dev: .3 against .2", differs="other data", **more)


def noisy(name: str, mean: float, key: int, **more: Any) -> Any:
    """Five runs whose scores vary by .02 over queries, far less than the means differ."""
    return row(name, *(mean + 0.02 * np.random.default_rng(key).normal(size=(5, 8))).tolist(), **more)


def faithful(name: str, method: str, mean: float, key: int, loss: str, **conditions: Any) -> Any:
    about = {"method": method, "track": "faithful", "conditions": {"loss": loss, **conditions}}
    return noisy(name, mean, key, **about)


def dataset_of(*rows: Any) -> dict[str, QueryScores]:
    return {"d": scores(*rows, slices=QUERIES)}


def verdicts(judged: pd.DataFrame) -> pd.DataFrame:
    return judged[judged["verdict"] != ""]


def comparisons(judged: pd.DataFrame) -> pd.DataFrame:
    return judged[judged["dataset"] != ""]


def reason(*rows: Any, **more: Any) -> str:
    """Why a claim about rows of one dataset has no verdict."""
    judged = judge({"x": (claim(**more),)}, dataset_of(*rows))
    assert judged["verdict"].tolist() == [NOT_TESTABLE]
    return str(judged["reason"].item())


NEAR = 0.5955
"""Below .6 by so much that one comparison shows it and the first of two does not."""
HIGH, LOW, SAME = noisy("a", 0.6, 1), noisy("b", 0.4, 2), noisy("c", 0.4, 2)


def test_a_claim_is_reproduced_contradicted_or_not_shown() -> None:
    judged = judge({"x": (claim("a", "b"), claim("b", "a"), claim("b", "c"))}, dataset_of(HIGH, LOW, SAME))
    found = verdicts(judged)
    assert found["verdict"].tolist() == ["reproduced", "contradicted", "not shown"]
    assert found["difference"].tolist() == pytest.approx([0.2, -0.2, 0], abs=0.01)
    assert found["claimed_by"].tolist() == ["x"] * 3
    assert (found["queries"] == 40).all()
    assert sentence(judged) == (
        "Of 3 claims: 1 reproduced, 1 contradicted, 1 not shown and 0 not testable here."
    )


def test_on_one_dataset_the_verdict_is_by_its_own_test() -> None:
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW))
    own = compare(HIGH.scores["nDCG@10"], LOW.scores["nDCG@10"])
    for _, line in judged.iterrows():
        assert line[["difference", "low", "high", "p"]].tolist() == pytest.approx(list(own[:4]))
    assert comparisons(judged)["verdict"].tolist() == [""], "a comparison has no verdict of its own"
    assert comparisons(judged)["adjusted"].isna().all()


def test_datasets_that_disagree_give_one_verdict_by_their_mean() -> None:
    both = dataset_of(HIGH, LOW) | {"e": scores(noisy("a", 0.2, 3), LOW, slices=QUERIES)}
    judged = judge({"x": (claim(),)}, both)
    assert comparisons(judged)["difference"].tolist() == pytest.approx([0.2, -0.2], abs=0.01)
    found = verdicts(judged)
    assert found["verdict"].tolist() == ["not shown"], (
        "the mean is 0, though each dataset alone is significant"
    )
    assert found["reason"].tolist() == ["on d and e"]
    alike = dataset_of(HIGH, LOW) | {"e": scores(noisy("a", 0.59, 3), LOW, slices=QUERIES)}
    assert verdicts(judge({"x": (claim(),)}, alike))["verdict"].tolist() == ["reproduced"]


def test_the_difference_is_the_mean_over_datasets_all_alike_in_weight() -> None:
    both = dataset_of(HIGH, LOW) | {"e": scores(noisy("a", 0.5, 3), LOW, slices=QUERIES)}
    found = verdicts(judge({"x": (claim(),)}, both)).iloc[0]
    runs = {
        name: tuple(table.of(row, "nDCG@10", "unseen") for row in ("a", "b")) for name, table in both.items()
    }
    wanted = compare_average(runs)
    assert (found["difference"], found["p"]) == pytest.approx((wanted.difference, wanted.p))
    assert wanted.difference == pytest.approx(np.mean([compare(*pair).difference for pair in runs.values()]))


def with_seeds(one: Row, name: str, *seeds: int) -> Row:
    """The runs of a row with these seeds, as a row of its own."""
    kept = {seed: runs for seed, runs in one.scores["nDCG@10"].items() if seed in seeds}
    return Row({**one.about, "title": name}, {"nDCG@10": kept})


@pytest.mark.parametrize("seeds", [(1, 2), (2, 3)])
def test_rows_of_a_method_whose_other_seeds_failed_stop_nothing(seeds: tuple[int, int]) -> None:
    rows = [with_seeds(HIGH, "a", 0, 1), with_seeds(HIGH, "a2", *seeds), LOW]
    found = verdicts(judge({"x": (claim(),)}, {"d": scores(*rows, slices=QUERIES)}))
    assert found["verdict"].isin(["reproduced", "not shown"]).tolist() == [True]


def test_a_dataset_that_is_not_counted_is_shown_and_decides_nothing() -> None:
    both = dataset_of(HIGH, LOW) | {"strict": scores(noisy("a", 0.4, 3), LOW, slices=QUERIES)}
    judged = judge({"x": (claim(),)}, both, Doubts(counted=["strict"]))
    assert verdicts(judged)["reason"].tolist() == ["on strict"]
    assert verdicts(judged)["verdict"].tolist() == ["not shown"]
    assert comparisons(judged)["reason"].tolist() == [
        "counted in no verdict, as it is not trained on or another regime of its collection is", ""
    ]  # fmt: skip


@pytest.mark.parametrize("risen", ["a", "b"])
def test_a_pair_of_which_a_row_still_rose_is_compared_but_not_judged(risen: str) -> None:
    rises = {
        ("d", risen): Rise("nDCG@10", 0.007, 60, rising=True),
        ("d", "c"): Rise("nDCG@10", 0.001, 60, rising=False),
        ("e", "a"): Rise("nDCG@10", 0.2, 60, rising=True),
    }
    both = dataset_of(HIGH, LOW, SAME) | {"f": scores(SAME, LOW, slices=QUERIES)}
    judged = judge({"x": (claim("a", "b"), claim("b", "c"))}, both, Doubts(rises=rises))
    first, second = verdicts(judged).to_dict("records")
    why = f"dev still rose, {risen} +0.007 over its last 60 steps"
    assert (first["verdict"], first["reason"]) == (NOT_TESTABLE, f"d: {why}")
    assert comparisons(judged).iloc[0]["difference"] == pytest.approx(0.2, abs=0.01)
    assert f"Not judged (d, adapter, controlled): {why}." in markdown(judged, "t")
    assert (second["verdict"], second["reason"]) == ("not shown", "on f" if risen == "b" else "on d and f")


@pytest.mark.parametrize("still", ["a", "b"])
def test_a_row_that_did_not_act_is_not_judged(still: str) -> None:
    idle = {("d", still): "replaced no negative", ("e", "a"): "elsewhere", ("d", "z"): "another"}
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW), Doubts(idle=idle))
    assert verdicts(judged)["verdict"].tolist() == [NOT_TESTABLE]
    assert verdicts(judged)["reason"].tolist() == [f"d: did not act, {still} replaced no negative"]


def test_nothing_is_judged_where_a_tier_is_undertrained() -> None:
    found = {"d": {"adapter": "every trained row is below BM25"}}
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW), Doubts(undertrained=found))
    assert verdicts(judged)["reason"].tolist() == ["d: undertrained: every trained row is below BM25"]
    for elsewhere in ({"e": found["d"]}, {"d": {"rerank": "below"}}):
        judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW), Doubts(undertrained=elsewhere))
        assert verdicts(judged)["verdict"].tolist() == ["reproduced"]


def test_one_seed_gives_no_verdict() -> None:
    one = [row(name, [mean] * 8) for name, mean in (("a", 0.6), ("b", 0.4))]
    judged = judge({"x": (claim(),)}, dataset_of(*one))
    assert verdicts(judged)["reason"].tolist() == ["d: one seed or one value a run gives no p-value"]


def test_what_cannot_be_tested_says_why() -> None:
    other = noisy("z", 0.5, 4, tier="finetune")
    tried = (claim("a", "none"), claim("a", "b", "R@5"), claim("a", "z"))
    judged = judge({"x": tried}, dataset_of(HIGH, LOW, other))
    assert set(judged["verdict"]) == {NOT_TESTABLE}
    assert judged["reason"].tolist() == [
        "this suite has no row of none", "no dataset of this suite is judged by R@5",
        "no tier has a row of both a and z",
    ]  # fmt: skip
    assert judged["difference"].isna().all()
    text = markdown(judged, "tiny")
    assert "The paper: MS MARCO dev: .3 against .2. What differs: other data." in text
    assert "not testable here: this suite has no row of none." in text


@pytest.mark.parametrize(
    ("condition", "value", "words"),
    [
        ("steps", 600, "a has 300 steps, with those of what it starts from, b 600"),
        ("training_queries", 38_400, "a has 19,200 training queries over all its steps, b 38,400"),
        ("negatives", 1, "a has 8 negatives a query, b 1"),
        ("in_batch", False, "a has all documents of the batch as negatives, b no"),
        ("temperature", 0.5, "a has 0.05 as temperature, b 0.5"),
        ("learning_rate", 1e-3, "a has 0.0003 as learning rate, b 0.001"),
        ("loss", "b", "a has the loss info_nce, b a loss of its own"),
    ],
)
def test_rows_that_differ_in_one_condition_are_not_compared(condition: str, value: Any, words: str) -> None:
    assert reason(HIGH, noisy("b", 0.4, 2, conditions={condition: value})) == words


def test_the_reason_is_that_of_the_nearest_rows() -> None:
    far = noisy("far", 0.4, 2, method="b", conditions={"steps": 900, "negatives": 1})
    near = noisy("near", 0.4, 2, method="b", conditions={"steps": 600})
    for rows in ((far, near), (near, far)):
        assert reason(HIGH, *rows) == "a has 300 steps, with those of what it starts from, near 600"


def test_depth_counts_where_both_rows_have_one_and_the_claim_is_not_about_it() -> None:
    deep, flat = (noisy(name, 0.5, 1, conditions={"depth": depth}) for name, depth in (("a", 200), ("b", 50)))
    assert reason(deep, flat) == "a has 200 candidates to draw from, b 50"
    for rows, more in (((deep, LOW), {}), ((HIGH, flat), {}), ((deep, flat), {"own_depth": True})):
        judged = judge({"x": (claim(**more),)}, dataset_of(*rows))
        assert len(comparisons(judged)) == 1


def test_a_claim_that_rests_on_a_large_batch_is_tested_in_none_that_is_smaller() -> None:
    assert reason(HIGH, LOW, batch=65) == (
        "it is about batches of 65 queries or more, whose documents are negatives, and a has 64"
    )
    assert verdicts(judge({"x": (claim(batch=64),)}, dataset_of(HIGH, LOW)))["verdict"].tolist() == [
        "reproduced"
    ]


def test_a_teacher_counts_unless_it_is_what_is_claimed() -> None:
    taught = noisy("a", 0.5, 1, conditions={"teacher": "the trained row simans"})
    assert reason(taught, LOW) == "a has the trained row simans as teacher, b none"
    assert len(comparisons(judge({"x": (claim(own_teacher=True),)}, dataset_of(taught, LOW)))) == 1
    both = noisy("b", 0.4, 2, conditions={"teacher": "the trained row simans"})
    assert len(comparisons(judge({"x": (claim(),)}, dataset_of(taught, both)))) == 1


def test_a_claim_about_a_loss_meets_the_shared_one_and_no_other() -> None:
    own = noisy("a", 0.5, 1, conditions={"loss": "a"})
    assert len(comparisons(judge({"x": (claim(own_loss=True),)}, dataset_of(own, LOW)))) == 1
    other = noisy("b", 0.4, 2, conditions={"loss": "b"})
    assert reason(own, other, own_loss=True) == "a has a loss of its own, b a loss of its own"
    lent = noisy("b", 0.4, 2, conditions={"loss": "a"})
    assert reason(own, lent, own_loss=True) == "a has a loss of its own, b the loss a"


def test_no_row_is_named_that_would_have_the_very_loss_that_is_claimed() -> None:
    own, plain = faithful("gte_f", "gte", 0.6, 1, "gte_f"), noisy("inbatch", 0.4, 2)
    for conditions in ({}, {"loss": "other"}):
        other = noisy("inbatch", 0.4, 2, conditions=conditions)
        told = reason(own, other, better="gte", worse="inbatch", own_loss=True)
        assert "would test it" not in told
    assert "would test it" in reason(own, plain, better="gte", worse="inbatch")


@pytest.mark.parametrize(
    ("method", "worse"), [("percpos", "dense_topk"), ("shifted_topk", "dense_topk"), ("cl_drd", "tas_b")]
)
def test_where_the_better_method_asks_a_teacher_and_the_worse_does_not_the_claim_says_so(
    method: str, worse: str
) -> None:
    found = [one for one in registry.available()[method].claims if (one.better, one.worse) == (method, worse)]
    assert [one.own_teacher for one in found] == [True]


def test_a_chain_of_cl_drd_from_tas_b_can_test_its_claim() -> None:
    """TAS-B's batches under Margin-MSE's loss, CL-DRD from its model, and TAS-B for as long."""
    (entry,) = registry.available()["cl_drd"].claims
    both = {"steps": 600, "teacher": "a ranker"}
    chained = faithful("cl_drd", "cl_drd", 0.6, 1, "cl_drd", **both)
    chained.about["chain"] = ["topics"]
    longer = faithful("twice", "tas_b", 0.4, 2, "margins", **both)
    start = faithful("topics", "tas_b", 0.4, 2, "margins", teacher="a ranker")
    judged = judge({"x": (claim("cl_drd", "tas_b", from_worse=entry.from_worse, own_teacher=True),)},
                   dataset_of(chained, longer, start))  # fmt: skip
    assert comparisons(judged)[["better_row", "worse_row"]].values.tolist() == [["cl_drd", "twice"]]


def test_a_claim_about_training_on_is_tested_by_a_row_that_starts_from_the_other_method() -> None:
    longer = {"conditions": {"steps": 600}}
    alone = noisy("a", 0.5, 1, chain=[], **longer)
    chained = noisy("chained", 0.5, 1, method="a", chain=["b"], **longer)
    for_as_long = noisy("twice", 0.4, 2, method="b", chain=["b"], **longer)
    assert reason(alone, for_as_long, from_worse=True) == (
        "it is about a started from the trained model of b, and a isn't"
    )
    assert reason(chained, LOW, from_worse=True) == (
        "chained has 600 steps, with those of what it starts from, b 300"
    )
    found = comparisons(judge({"x": (claim(from_worse=True),)}, dataset_of(alone, chained, LOW, for_as_long)))
    assert found[["better_row", "worse_row"]].values.tolist() == [["chained", "twice"]]


def test_a_row_that_others_start_from_counts_though_it_stands_untuned_below_the_ranking() -> None:
    """ADORE and STAR, each with its own loss, of which STAR as it comes is started from."""
    both = {"steps": 600}
    chained = noisy("chained", 0.5, 1, method="a", chain=["b"], conditions={**both, "loss": "chained"})
    for_as_long = noisy("twice", 0.4, 2, method="b", chain=["b"], conditions={**both, "loss": "twice"})
    start = noisy("b", 0.4, 2, untuned=True)
    ranked = {name: table.ranked() for name, table in dataset_of(chained, for_as_long, start).items()}
    found = comparisons(judge({"x": (claim(from_worse=True),)}, ranked))
    assert found[["better_row", "worse_row"]].values.tolist() == [["chained", "twice"]]


@pytest.mark.parametrize(("track", "tested"), [("faithful", 1), ("controlled", 0)])
def test_a_recipe_that_trains_on_reads_as_many_documents_as_its_loss_is_over(track: str, tested: int) -> None:
    """ADORE's loss is over a list of 200, STAR's takes one hard negative a query."""
    chained, start_twice = (
        noisy(
            name, mean, 1, method=method, chain=["b"], track=track,
            conditions={"steps": 600, "loss": name, "negatives": negatives},
        )
        for name, mean, method, negatives in (("chained", 0.5, "a", 8), ("twice", 0.4, "b", 1))
    )  # fmt: skip
    found = comparisons(judge({"x": (claim(from_worse=True),)}, dataset_of(chained, start_twice, LOW)))
    assert len(found) == tested


def test_a_row_below_what_it_began_with_is_not_judged_though_another_is_above() -> None:
    untrained = noisy("untrained", 0.65, 3, track="baseline")
    high = noisy("c", 0.7, 4)
    found = {name: below_start(table) for name, table in dataset_of(HIGH, LOW, high, untrained).items()}
    assert found == {"d": {"a": "untrained", "b": "untrained"}}
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW, high, untrained), Doubts(below=found))
    assert verdicts(judged)["reason"].tolist() == [
        "d: ended below what training began with, a below untrained and b below untrained"
    ]
    judged = judge({"x": (claim("c", "b"),)}, dataset_of(HIGH, LOW, high, untrained), Doubts(below=found))
    assert verdicts(judged)["reason"].tolist() == [
        "d: ended below what training began with, b below untrained"
    ]


def test_a_faithful_row_meets_no_controlled_one_and_the_reason_names_the_row_that_would_do() -> None:
    star = faithful("star_faithful", "star", 0.6, 1, "star_faithful", negatives=1)
    plain, under = noisy("random", 0.4, 2), faithful("lent", "random", 0.4, 2, "star_faithful", negatives=1)
    assert reason(star, plain, better="star", worse="random") == (
        "star_faithful has a loss of its own, random the loss info_nce; "
        "a row `{method: random, loss: star_faithful}` would test it"
    )
    found = comparisons(judge({"x": (claim("star", "random"),)}, dataset_of(star, plain, under)))
    assert found[["track", "better_row", "worse_row"]].values.tolist() == [
        ["faithful", "star_faithful", "lent"]
    ]


@pytest.mark.parametrize(("method", "worse"), [("adore", "random"), ("ance", "inbatch"), ("star", "cet")])
def test_no_row_is_named_that_would_be_refused(method: str, worse: str) -> None:
    own = faithful("mine", method, 0.6, 1, "mine")
    assert reason(own, noisy(worse, 0.4, 2), better=method, worse=worse) == (
        f"mine has a loss of its own, {worse} the loss info_nce"
    )


def test_the_track_alone_may_differ() -> None:
    other = noisy("b", 0.4, 2, track="faithful")
    assert reason(HIGH, other) == "a is in the controlled track, b in the faithful one"


def test_the_faithful_track_decides_where_it_can() -> None:
    rows = [faithful("a_f", "a", 0.3, 5, "a_f"), faithful("b_f", "b", 0.5, 6, "a_f")]
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW, *rows))
    assert verdicts(judged)[["verdict", "track"]].values.tolist() == [["contradicted", "faithful"]]
    cut = comparisons(judged).set_index("track")
    assert cut["worse_row"].to_dict() == {"controlled": "b", "faithful": "b_f"}
    assert cut["reason"].to_dict() == {"controlled": "the faithful track decides", "faithful": ""}


def test_tiers_have_verdicts_of_their_own() -> None:
    fine = [
        noisy(f"{name}_fine", mean, 3, tier="finetune", method=name)
        for name, mean in (("a", 0.1), ("b", 0.5))
    ]
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, LOW, *fine))
    assert verdicts(judged).set_index("tier")["verdict"].to_dict() == {
        "adapter": "reproduced", "finetune": "contradicted"
    }  # fmt: skip
    assert sentence(judged).startswith(
        "Of 1 claim, with 2 verdicts in their tiers: 1 reproduced, 1 contradicted"
    )


def test_a_claim_about_rankers_is_tested_by_rankers_alone_and_others_by_encoders_alone() -> None:
    rankers = [
        noisy(f"{name}_pairs", mean, 3, tier="rerank", method=name) for name, mean in (("a", 0.1), ("b", 0.5))
    ]
    both = dataset_of(HIGH, LOW, *rankers)
    for of_rankers, wanted in ((True, {"rerank": "contradicted"}), (False, {"adapter": "reproduced"})):
        judged = judge({"x": (claim(of_rankers=of_rankers),)}, both)
        assert verdicts(judged).set_index("tier")["verdict"].to_dict() == wanted
    assert reason(HIGH, LOW, of_rankers=True) == "it is about cross-encoders, and this suite trains none"
    assert reason(*rankers) == "it is about bi-encoders, and this suite trains none"


def test_several_rows_of_a_method_count_once() -> None:
    again = noisy("a2", 0.4, 4, method="a")
    judged = judge({"x": (claim(),)}, dataset_of(HIGH, again, LOW))
    assert len(comparisons(judged)) == 2
    found = verdicts(judged).iloc[0]
    assert found["difference"] == pytest.approx(comparisons(judged)["difference"].mean())
    assert found["queries"] == 40, "the same queries are no second dataset"


def test_p_is_adjusted_for_each_verdict_once() -> None:
    near = noisy("b", 0.596, 2)
    rows = dataset_of(noisy("a", 0.6, 1), near, noisy("c", 0.6, 7))
    one = verdicts(judge({"x": (claim("a", "b"),)}, rows))
    twice = verdicts(judge({"x": (claim("a", "b"),), "y": (claim("a", "b"),)}, rows))
    assert twice["adjusted"].tolist() == one["p"].tolist() * 2, "the same comparison is no second one"
    two = verdicts(judge({"x": (claim("a", "b"), claim("a", "c"))}, rows))
    assert two["adjusted"].min() == pytest.approx(min(1, 2 * two["p"].min()))


def test_the_verdict_is_by_the_adjusted_p() -> None:
    near, same = noisy("b", NEAR, 2), noisy("c", 0.6, 7)
    alone = verdicts(judge({"x": (claim("a", "b"),)}, dataset_of(HIGH, near, same)))
    assert alone["verdict"].tolist() == ["reproduced"]
    both = verdicts(judge({"x": (claim("a", "b"), claim("a", "c"))}, dataset_of(HIGH, near, same)))
    assert (both["p"] < 0.05).tolist() == [True, False]
    assert both["verdict"].tolist() == ["not shown", "not shown"]


def test_holm_is_over_the_verdicts_of_the_whole_board_and_not_over_datasets() -> None:
    rows = (noisy("a", 0.6, 1), noisy("b", 0.59, 2), noisy("c", 0.6, 7))
    both = dataset_of(*rows) | {"e": scores(*rows, slices=QUERIES)}
    one = verdicts(judge({"x": (claim("a", "b"),)}, both))
    assert one["adjusted"].tolist() == one["p"].tolist(), "two datasets are one verdict"
    two = verdicts(judge({"x": (claim("a", "b"),), "y": (claim("c", "b"),)}, both))
    assert two["adjusted"].min() == pytest.approx(min(1, 2 * two["p"].min()))


def test_p_at_the_resolution_of_the_draws_is_printed_as_a_bound() -> None:
    far = [noisy(name, mean, key) for name, mean, key in (("a", 0.9, 1), ("b", 0.1, 2), ("c", 0.1, 3))]
    names = [claim("a", "b"), claim("a", "c"), *(claim(f"a{place}", "b") for place in range(40))]
    more = [noisy(f"a{place}", 0.9, 10 + place) for place in range(40)]
    judged = judge({"x": tuple(names)}, dataset_of(*far, *more))
    assert verdicts(judged)["adjusted"].iloc[0] == pytest.approx(42 / 20_001, rel=1e-3)
    texts = [chance_text(line) for line in records(judged)]
    assert texts == ["<0.003", "<0.001"] * 42, "that of a comparison is not adjusted"
    assert chance_text({**records(judged)[0], "p": 1.1e-4}) == "0.002", "an adjusted value is none"


def test_the_stage_reads_runs_and_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values in (("simans", [0.9, 0.8, 0.9]), ("random", [0.1, 0.2, 0.2])):
        for seed in (0, 1):
            write_run(tmp_path, name, seed, values)
    for name in ("untrained", "bm25_search"):
        write_run(tmp_path, name, None, [0.1, 0.2, 0.2])
    write_cards(tmp_path / "board")
    contents = Contents(suite="s", cards={"d": "x"}, rows=["simans", "random"], seeds=[0, 1])
    claims.main(contents_file(contents, tmp_path), tmp_path / "board")
    table = read_claims(tmp_path / "board/claims.csv")
    assert set(table["claimed_by"]) == {name for name, kind in registry.available().items() if kind.claims}
    verdict, tested = table[table["tier"] == "adapter"].to_dict("records")
    assert (verdict["better"], verdict["worse"], verdict["metric"]) == ("simans", "random", "R@100")
    assert (verdict["verdict"], verdict["dataset"]) == ("reproduced", "")
    assert (tested["dataset"], tested["verdict"]) == ("d", "")
    assert tested["difference"] == pytest.approx(0.7), (
        "too few are unseen, so all rank: means 2.6 / 3 and .5 / 3"
    )
    assert (tmp_path / "board/claims.md").read_text().startswith("# Claims: s\n")


def test_the_stage_judges_nothing_where_no_row_reaches_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values in (("simans", [0.5, 0.4, 0.5]), ("random", [0.1, 0.2, 0.2])):
        for seed in (0, 1):
            write_run(tmp_path, name, seed, values)
    for name, value in (("untrained", 0.6), ("bm25_search", 0.1)):
        write_run(tmp_path, name, None, [value] * 3)
    write_cards(tmp_path / "board")
    contents = Contents(suite="s", cards={"d": "x"}, rows=["simans", "random"], seeds=[0, 1])
    claims.main(contents_file(contents, tmp_path), tmp_path / "board")
    found = read_claims(tmp_path / "board/claims.csv").query("tier == 'adapter'").iloc[0]
    assert found["verdict"] == NOT_TESTABLE
    assert found["reason"] == (
        "d: undertrained: every trained row is below untrained (nDCG@10 0.600); the best, simans, has 0.467"
    )


def write_run(folder: Path, name: str, seed: int | None, values: list[float], idle: str = "") -> None:
    """A run with what the manifest of its training says; a baseline has none."""
    write_scores(folder, name, seed, values)
    for file in (folder / "results/runs/s/d" / name).rglob("per_query.parquet"):
        pd.read_parquet(file).assign(cluster=[0, 1, 2]).to_parquet(
            file
        )  # two clusters are too few for a p-value
    if seed is not None:
        wall = {"wall_seconds": 1.0, "cpu_seconds": 1.0}
        manifest = {
            "hardware": {"cpu": "Z80", "cores": 2, "gpus": []},
            "cost": {"training": wall, "own": wall, "peak_mebibytes": 1.0},
            "counters": dict.fromkeys(Counters().as_dict(), 0),
            "filled": {},
            "idle": idle,
        }
        place = folder / "results/runs/s/d" / name / f"seed-{seed}"
        (place / "manifest.json").write_text(json.dumps(manifest))


def test_the_stage_judges_no_row_that_never_acted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values, idle in (
        ("simans", [0.9, 0.8, 0.9], "no query came back"),
        ("random", [0.1, 0.2, 0.2], ""),
    ):
        for seed in (0, 1):
            write_run(tmp_path, name, seed, values, idle)
    for name in ("untrained", "bm25_search"):
        write_run(tmp_path, name, None, [0.1, 0.2, 0.2])
    write_cards(tmp_path / "board")
    contents = Contents(suite="s", cards={"d": "x"}, rows=["simans", "random"], seeds=[0, 1])
    claims.main(contents_file(contents, tmp_path), tmp_path / "board")
    found = read_claims(tmp_path / "board/claims.csv").query("tier == 'adapter'").iloc[0]
    assert (found["verdict"], found["reason"]) == (NOT_TESTABLE, "d: did not act, simans no query came back")


def write_cards(board: Path) -> None:
    (board / "cards").mkdir(parents=True)
    (board / "cards" / "d.json").write_text(json.dumps({"dataset": "d", "regime": "standard"}))


@pytest.mark.parametrize("name", sorted(registry.available()))
def test_claims_name_methods_and_metrics_that_are_here(name: str) -> None:
    for entry in registry.available()[name].claims:
        assert {entry.better, entry.worse} <= registry.available().keys()
        assert entry.metric in {*DEFAULT, "STS"}
        assert entry.condition
        assert entry.differs
