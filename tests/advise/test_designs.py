"""Plans from the whole comparison downwards: each takes less, says what it lacks, and touches no key of the user's."""

from dataclasses import replace
from pathlib import Path

import pytest

from negmark.advise.asked import Asked, asked_of
from negmark.advise.budget import Clock, boarding, fitting, preparing, seeds_that_fit, tuning
from negmark.advise.designs import ROWS, Found, Plan, plans, whole_config, with_fewer_seeds
from negmark.core.tiers import TIERS
from negmark.methods import registry
from negmark.plan.durations import Machine
from negmark.plan.machine import Network
from negmark.plan.sizes import Size
from negmark.suite.checks import load
from negmark.suite.layout import Layout

SIZE = Size(
    documents=400_000, train=50_000, test=500, document_tokens=100.0, query_tokens=10.0, source="a hand"
)
FOUND = {"mine": Found(SIZE, 500, {"train": 60_000, "dev": 600, "test": 600})}
MACHINE = Machine(
    start={"torch": 4.0, "light": 2.0, "figures": 3.0}, tokens=3.5e6, products=5e10, texts=20_000.0, indexed=20_000.0,
    scored=1e8, rows={}, cores=2,
)  # fmt: skip
NETWORK = Network(384, 22_000_000, 10_000_000, True)


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.jsonl").touch()
    monkeypatch.chdir(tmp_path)


def asked(**more: object) -> Asked:
    return asked_of({"datasets": "./mine", **more}, "mine.yaml")


def test_every_plan_is_a_suite_and_takes_less_than_the_one_before() -> None:
    clock = Clock(MACHINE, NETWORK, FOUND, 2)
    found = list(plans(asked(), FOUND))
    for plan in found:
        load(plan.config, "a plan")
    seconds = [clock.seconds(plan) for plan in found]
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == len(seconds)
    assert seconds[-1] < seconds[0] / 10


def test_the_whole_comparison_leaves_out_queries_that_no_step_would_see_and_nothing_else() -> None:
    plan = next(plans(asked(), FOUND))
    assert list(plan.config["methods"]) == list(ROWS)
    assert plan.config["datasets"]["mine"] == {
        "source": "./mine",
        "dev_queries": 500,
        "train_queries": 20_000,
    }
    assert plan.left_out == ["mine: 30,000 of 50,000 training queries, which the file lacks too"]
    small = {"mine": replace(FOUND["mine"], size=replace(SIZE, train=900))}
    assert next(plans(asked(), small)).left_out == []
    made = {"mine": replace(small["mine"], set_aside=90)}
    assert next(plans(asked(), made)).left_out == ["mine: 90 training queries, of which a dev split was made"]


def test_the_smallest_says_all_that_it_lacks() -> None:
    *_, plan = plans(asked(), FOUND)
    titles = [registry.available()[name].title for name in ROWS[4:]]
    # 5,000 of 50,000 queries with a twentieth more than their share of 60,000 labels, and those of dev and test
    labelled = round(1.05 * 0.1 * 60_000 + 1_200) + 1
    assert plan.config["datasets"]["mine"]["documents"] == max(10_000, labelled)
    assert plan.config["tuned"] is False
    assert plan.config["static"]["steps"] == 100
    assert plan.left_out == [
        f"the methods {', '.join(titles[:-1])} and {titles[-1]}", "300 of 400 steps of training", "2 of 5 seeds",
        "tuning: every method has its paper's settings and one learning rate",
        "mine: 390,000 of 400,000 documents", "mine: 45,000 of 50,000 training queries, which the file lacks too",
    ]  # fmt: skip


def test_no_plan_touches_what_the_user_sets() -> None:
    own = {
        "methods": {"inbatch": None, "ance": {"refresh_steps": 50}}, "seeds": [3, 4], "static": {"steps": 77},
        "tuned": False, "datasets": {"mine": {"source": "./mine", "documents": 50_000, "train_queries": 100}},
    }  # fmt: skip
    found = list(plans(asked(**own), FOUND))
    for plan in found:
        assert plan.config["methods"] == own["methods"]
        assert plan.config["seeds"] == [3, 4]
        assert plan.config["static"]["steps"] == 77
        assert plan.config["tuned"] is False
        assert plan.config["datasets"]["mine"]["documents"] == 50_000
        assert plan.left_out == []
        assert load(plan.config, "f").suite == "advice-mine"
    assert len({str(plan.config) for plan in found}) == len(found)


def test_given_negatives_are_a_row() -> None:
    given = {"datasets": {"mine": {"source": "./mine", "given": "./mine.jsonl"}}}
    for plan in plans(asked(**given), FOUND):
        assert "given" in plan.config["methods"]


@pytest.mark.parametrize("key", ["given", "verdicts"])
def test_no_document_is_cut_where_a_file_may_name_it(key: str) -> None:
    own = {"datasets": {"mine": {"source": "./mine", key: "./mine.jsonl"}}}
    *_, smallest = plans(asked(**own), FOUND)
    assert "documents" not in smallest.config["datasets"]["mine"]
    assert f"mine: none of its documents, as `{key}` may name any of them" in smallest.left_out


def test_too_few_dev_queries_choose_nothing() -> None:
    few = {"mine": replace(FOUND["mine"], size=replace(SIZE, train=200, documents=500), dev=20)}
    plan = next(plans(asked(), few))
    assert plan.config["tuned"] is False
    assert plan.left_out == [
        "tuning: every method has its paper's settings and one learning rate (mine has fewer than 30 dev queries to "
        "choose by)"
    ]


def test_the_first_plan_that_fits_is_taken_and_the_last_where_none_does() -> None:
    clock = Clock(MACHINE, NETWORK, FOUND, 2)
    found = list(plans(asked(), FOUND))
    seconds = [clock.seconds(plan) for plan in found]
    for place in (0, 3):
        chosen, planned = fitting(found, clock, seconds[place] / 0.85 + 1e-6)
        assert (chosen, planned) == (found[place], seconds[place])
    assert fitting(found, clock, 1.0) == (found[-1], seconds[-1])


def test_seeds_are_left_out_where_trials_took_longer_than_planned() -> None:
    clock = Clock(MACHINE, NETWORK, FOUND, 2)
    plan = next(plans(asked(), FOUND))
    whole = clock.seconds(plan, "boarding")
    assert seeds_that_fit(plan, clock, 1.0, whole + 1) == 5
    assert seeds_that_fit(plan, clock, 2.0, whole) < 5
    assert seeds_that_fit(plan, clock, 1000.0, whole) == 3
    fewer = with_fewer_seeds(plan, 3)
    assert fewer.config["seeds"] == [0, 1, 2]
    assert fewer.left_out[-1] == "only 3 seeds a method, as the trials took longer than planned"
    assert load(fewer.config, "f").seeds == [0, 1, 2]


def test_the_jobs_of_a_plan_are_those_of_its_rules() -> None:
    layout = Layout(load(next(plans(asked(), FOUND)).config, "f"))
    assert [job.rule for job in preparing(layout)] == ["dataset", "embeddings", "bm25_pool", "dense_pool"]
    trials = [job.rule for job in tuning(layout)]
    assert trials.count("try_rates") == trials.count("try_values") == len(ROWS)
    assert trials.count("rate_grid") == trials.count("tune") == 1
    runs = [job for job in boarding(layout) if job.rule == "train_0_1_2_3_4"]
    assert [job.wildcards["row"] for job in runs] == list(ROWS)
    untuned = Layout(load({**whole_config(asked()), "tuned": False}, "f"))
    assert tuning(untuned) == []
    assert isinstance(next(plans(asked(), FOUND)), Plan)
    assert TIERS["static"].starts_from_table


@pytest.mark.parametrize("row", ROWS)
def test_methods_that_are_compared_exist(row: str) -> None:
    assert row in registry.available()
