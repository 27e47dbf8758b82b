"""Tuned rows: what is tried of each, which seeds, what stands on the board, and what a file of other settings meets."""

import copy
import json
from pathlib import Path

import pytest

from builders import shipped_suites
from negmark.core.errors import UserError
from negmark.methods import registry
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.tuned_rows import rate_task, tuning_task, value_task
from negmark.suite.tuning import Chosen, Tuned, footnote
from negmark.train.run import set_up
from tiny import SUITE

TRACKS = [
    (method, track)
    for method in registry.available().values()
    for track in ("controlled", *(["faithful"] if method.faithful else []))
    if not method.refusal(method.Params(), track)
]
every_row = pytest.mark.parametrize(
    ("method", "track"), TRACKS, ids=[f"{method.name}/{track}" for method, track in TRACKS]
)


def suite(**changes):
    """The tiny suite with a dev split, two rows to tune and three rates."""
    config = copy.deepcopy(SUITE)
    config["datasets"] = {"pydoc": {"source": "scifact"}}
    config["tuning"] = {"rates": [0.5, 1.0, 2.0], "methods": ["inbatch", "simans"]}
    return config | changes


# --- the spaces of methods --------------------------------------------------------------------------------


@every_row
def test_a_space_is_one_that_the_parameters_accept(method, track):
    space = method.space(method.Params(), track)
    for name, tried in space.items():
        default = getattr(method.Params(), name)
        assert default in tried.values, "the default is among them"
        assert len(set(tried.values)) == len(tried.values) == 5, (
            "spaces of one size are as good a chance for all"
        )
        assert len(tried.source) > 5
        for value in tried.values:
            made = method.Params.model_validate({**method.Params().model_dump(mode="json"), name: value})
            assert getattr(made, name) == value
            assert json.loads(json.dumps(value)) == value
    assert len(space) <= 1


@pytest.mark.parametrize("name", registry.available())
def test_a_method_with_parameters_declares_a_space(name):
    method = registry.available()[name]
    tracks = [track for kind, track in TRACKS if kind is method]
    declared = any(method.space(method.Params(), track) for track in tracks)
    # the share of poison is what that control is, and not to be tuned; any sigma makes DCL another method, DCLW
    untuned = method.gives_positives or name == "dcl"
    assert declared == (bool(method.Params.model_fields) and not untuned)


@pytest.mark.parametrize(
    ("name", "key", "value"), [("shifted_topk", "shift", 0), ("debiased", "tau_plus", 0.0)]
)
def test_no_tried_value_makes_a_row_another_method(name, key, value):
    method = registry.available()[name]
    assert value not in method.space(method.Params(), "controlled")[key].values


def test_hcl_is_tuned_around_its_paper_at_the_temperature_of_the_track():
    """Without a value of its own it is t / 0.5: none of the others is that."""
    method = registry.available()["hcl"]
    for track, temperature in (
        ("controlled", 0.05),
        ("faithful", method.papers_temperature(method.Params())),
    ):
        others = [value for value in method.space(method.Params(), track)["beta"].values if value is not None]
        assert temperature / 0.5 not in others
        assert min(others) < temperature / 0.5 < max(others)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "far"])
def test_simans_tunes_the_sharpness_that_its_kernel_reads(kernel):
    method = registry.available()["simans"]
    space = method.space(method.Params(kernel=kernel), "controlled")
    assert list(space) == (["a"] if kernel == "gaussian" else ["tau"])
    assert all(value is None or value > 0 for value in space[next(iter(space))].values)


# --- the suite --------------------------------------------------------------------------------------------


def test_all_rows_try_the_same_rates_and_their_own_parameter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without a tuned.json
    for name, config in shipped_suites().items():
        layout = Layout(load(config, name))
        for dataset in layout.suite.with_dev:
            rates = {rates_of(layout, dataset, row) for row in layout.suite.tuned_rows()}
            assert len(rates) <= 1, name
            counts = {len(row.values()) for row in layout.suite.tuned_rows()}
            assert counts <= {0, 4}, "the fifth value is the row's own"
            tried = {
                row
                for row, tier in layout.contents.tiers.items()
                if tier != "rerank" and row not in layout.suite.tuning.untuned
            }
            files = layout.trials("values", dataset.name)
            assert {Path(path).parent.name for path in files} == tried, name


def rates_of(layout: Layout, dataset, row) -> str:
    return str(json.loads(rate_task(layout.suite, layout.specs, dataset, row))["rates"])


def test_what_a_row_sets_itself_is_not_tuned():
    loaded = load(suite(methods={"simans": {"a": 2.0}, "inbatch": None}), "x")
    assert loaded.rows["simans"].values() == []
    loaded = load(suite(methods={"simans": None, "inbatch": None}), "x")
    assert loaded.rows["simans"].values() == [{"a": value} for value in (0.03125, 0.125, 2.0, 8.0)]
    assert loaded.rows["inbatch"].values() == []


def test_a_plan_knows_what_a_row_sets_itself():
    rows = {"simans": {"depth": 10}, "fixed": {"method": "simans", "a": 2.0}, "inbatch": None}
    layout = Layout(load(suite(methods=rows, tuning={}), "x"))
    again = load(layout.as_given(), "x")
    assert [len(row.values()) for row in again.rows.values()] == [4, 0, 0]
    assert again.resolved() == layout.suite.resolved()


def test_a_trial_is_the_row_with_an_end_on_dev():
    layout = Layout(load(suite(), "x"))
    dataset, row = layout.datasets["pydoc"], layout.rows["simans"]
    base, spec = layout.specs.run(dataset, row), layout.specs.trials(dataset, row)
    assert spec == {**base, "training": {**base["training"], "curve_every": 8, "curve_queries": 500}}
    assert "curve_every" not in base["training"]
    values = json.loads(value_task(layout.suite, layout.specs, dataset, row))
    assert values == {"spec": spec, "seeds": [1000, 1001, 1002], "values": row.values()}


def test_trial_seeds_are_none_of_the_boards():
    assert load(suite(), "x").trial_seeds() == [1000, 1001, 1002]
    assert load(suite(seeds=[0, 1000, 1002]), "x").trial_seeds() == [1001, 1003, 1004]
    config = suite()
    config["tuning"]["seeds"] = [7, 8]
    assert load(config, "x").trial_seeds() == [7, 8]


def test_trials_of_a_row_that_starts_from_another_take_its_runs_in_turn():
    config = suite(methods={"random": None, "after": {"method": "inbatch", "start": "random"}}, tuning={})
    layout = Layout(load(config, "x"))
    assert layout.suite.trial_start_seeds() == [0, 1, 0]
    inputs = layout.paths.inputs(
        layout.datasets["pydoc"], layout.rows["after"], layout.suite.trial_start_seeds()
    )
    assert [Path(path).parts[-2] for path in inputs["start"]] == ["seed-0", "seed-1", "seed-0"]


def test_a_row_that_others_start_from_may_stay_as_it_is_among_tuned_ones_alone():
    rows = {"inbatch": None, "random": None, "after": {"method": "inbatch", "start": "random"}}
    made = load(suite(methods=rows, tuning={"untuned": ["random"]}, tuned="alone"), "x")
    assert [row.name for row in made.tuned_rows()] == ["inbatch", "after"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tuning": {"trials": 4}}, "tuning.trials: unknown key"),
        ({"tuning": {"rates": [1.0]}}, "tuning.rates: list should have at least 2 items"),
        ({"tuning": {"rates": [0.5, 2.0]}}, "tuning.rates: .*1, the suite's own rate, must"),
        ({"tuning": {"rates": [1.0, 1.0]}}, "tuning.rates: each factor may be listed once"),
        ({"tuning": {"seeds": [9, 1]}}, "tuning.seeds: 1 is also one of the suite's seeds, by which the board judges"),
        ({"tuning": {"seeds": [9, 9]}}, "tuning.seeds: each seed may be listed once"),
        ({"tuning": {"methods": ["simnas"]}}, "tuning.methods: no row 'simnas'.*did you mean 'simans'"),
        ({"tuning": {"untuned": ["simnas"]}}, "tuning.untuned: no row 'simnas'.*did you mean 'simans'"),
        ({"tuned": "only"}, "tuned: input should be False, True or 'alone', found 'only'"),
        (
            {"methods": {"inbatch": None, "inbatch_tuned": {"method": "random"}}, "tuning": {}},
            "methods.inbatch_tuned: this is the name",
        ),
        (
            {
                "methods": {"random": None, "after": {"method": "inbatch", "start": "random"}}, "tuning": {},
                "tuned": "alone",
            },
            r"tuned: alone: trials of after start from random as it is.*`tuning: \{untuned: \[random\]\}`",
        ),
        ({"rerank": {"curve_every": 5}}, "rerank.curve_every"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_in_one_line(changes, words):
    with pytest.raises(UserError, match=words):
        load(suite(**changes), "x")


# --- the board --------------------------------------------------------------------------------------------


def chosen(**changes) -> Chosen:
    made = {
        "factor": 2.0, "learning_rate": 2e-3, "params": {}, "dev": 0.6, "default": 0.5, "low": 0.05, "high": 0.15,
        "within_noise": False, "at_edge": False, "trials": 13, "failed": 0, "seeds": 3, "slice": "unseen",
        "queries": 40, "under": "",
    }  # fmt: skip
    return Chosen(**{**made, **changes})


def write_tuned(layout: Layout) -> None:
    """Write a tuned.json for the two rows."""
    rows = {
        row: chosen(
            params=params, under=layout.specs.tuned_under(layout.datasets["pydoc"], layout.suite.rows[row])
        )
        for row, params in (("inbatch", {}), ("simans", {"a": 2.0}))
    }
    tuned = Tuned(
        suite="tiny",
        metric="nDCG@10",
        seeds=[1000, 1001],
        rates={"pydoc": [0.5, 1.0, 2.0]},
        datasets={"pydoc": rows},
    )
    Path(layout.paths.tuned).parent.mkdir(parents=True, exist_ok=True)
    Path(layout.paths.tuned).write_text(tuned.model_dump_json())


def about(layout: Layout, row: str) -> dict:
    return json.loads(layout.about.runs(layout.datasets["pydoc"], layout.rows[row]))


FOOTNOTE = (
    "tuned: learning rate 0.002 (2 x the row's own), a 2.0, the best of 13 settings by nDCG@10 on 40 unseen dev "
    "queries, 3 seeds each; +0.100 against the default (95 % interval +0.050 to +0.150)"
)


def test_tuned_rows_are_ranked_and_the_suites_own_stand_below(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = Layout(load(suite(tuned=True), "x"))
    assert first.targets() == [first.paths.tuned], "the first run tunes"
    assert first.contents.rows == ["inbatch", "random", "simans"]
    write_tuned(first)
    layout = Layout(load(suite(tuned=True), "x"))
    assert layout.contents.rows == ["inbatch", "random", "simans", "inbatch_tuned", "simans_tuned"]
    assert layout.reference == layout.board_settings()["reference"] == "inbatch_tuned"
    spec, base = (
        layout.specs.run(layout.datasets["pydoc"], layout.rows[row]) for row in ("simans_tuned", "simans")
    )
    assert base == first.specs.run(first.datasets["pydoc"], first.rows["simans"])
    assert spec["drawn_as"] == "simans"
    assert spec["params"] == {**base["params"], "a": 2.0}
    assert spec["training"] == {**base["training"], "learning_rate": 2e-3}
    found = about(layout, "simans_tuned")
    assert found["title"] == "SimANS, tuned"
    assert (found["params"]["a"], found["params"]["learning_rate"]) == (2.0, 2e-3)
    assert found["adaptations"][-1] == FOOTNOTE
    assert about(layout, "simans") == about(first, "simans"), "no run is evaluated again for the others"
    assert about(layout, "simans")["adaptations"] == found["adaptations"][:-1]
    assert layout.contents.untuned == ["inbatch", "random", "simans"]
    assert first.contents.untuned == []


def test_tuned_rows_alone_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = suite(tuned="alone")
    config["methods"].pop("random")
    first = Layout(load(config, "x"))
    assert first.targets() == [first.paths.tuned]
    write_tuned(first)
    layout = Layout(load(config, "x"))
    assert layout.contents.rows == ["inbatch", "simans"]
    assert layout.reference == "inbatch"
    spec = layout.specs.run(layout.datasets["pydoc"], layout.rows["simans"])
    assert (spec["row"], spec["params"]["a"], spec["training"]["learning_rate"]) == ("simans", 2.0, 2e-3)
    assert "drawn_as" not in spec
    found = about(layout, "simans")
    assert (found["title"], found["adaptations"][-1]) == ("SimANS", FOOTNOTE)
    assert layout.contents.untuned == []
    assert tuning_task(layout.suite, layout.specs, layout.paths) == tuning_task(
        first.suite, first.specs, first.paths
    ), "tuning starts from the row as the config has it"


def test_tuned_rows_stand_for_their_methods_where_tiers_are_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    methods = {"inbatch": None, "random": None, "simans": None}
    methods |= {f"{name}_finetune": {"method": name, "tier": "finetune"} for name in methods}
    config = suite(tuned=True, methods=methods)
    write_tuned(Layout(load(config, "x")))
    (comparison,) = Layout(load(config, "x")).contents.comparisons
    assert [cheap for cheap, _ in comparison.rows] == ["inbatch_tuned", "simans_tuned", "random"]


def test_what_was_tuned_under_other_settings_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = Layout(load(suite(tuned=True), "x"))
    write_tuned(first)
    curved = {**SUITE["training"], "curve_every": 2}
    assert Layout(load(suite(tuned=True, training=curved), "x")).contents.rows[-1] == "simans_tuned", (
        "looking on is no other setting"
    )
    for changes in ({"training": {**SUITE["training"], "steps": 9}}, {"pools": {"depth": 9}}):
        with pytest.raises(UserError, match="inbatch on pydoc was tuned under other settings"):
            Layout(load(suite(tuned=True, **changes), "x"))
    with pytest.raises(UserError, match="random on pydoc is missing"):
        Layout(load(suite(tuned=True, tuning={"rates": [0.5, 1.0, 2.0]}), "x"))
    Path(first.paths.tuned).write_text("{}")
    with pytest.raises(UserError, match="not a file of this version's `tune`"):
        Layout(load(suite(tuned=True), "x"))


def test_steps_are_a_setting_of_the_static_tier_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    under = {
        one.specs.tuned_under(one.datasets["pydoc"], one.rows["inbatch"])
        for one in (Layout(load(suite(tier="static", static={"steps": steps}), "x")) for steps in (8, 9))
    }
    assert len(under) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"factor": 1.0, "learning_rate": 1e-3, "low": None, "high": None, "slice": "all", "seeds": 1},
            "tuned: the row's own settings were not beaten (learning rate 0.001), the best of 13 settings by nDCG@10 "
            "on 40 dev queries, 1 seed each",
        ),
        (
            {"low": -0.01, "high": 0.21, "within_noise": True, "at_edge": True},
            "tuned: learning rate 0.002 (2 x the row's own), the best of 13 settings by nDCG@10 on 40 unseen dev "
            "queries, 3 seeds each; +0.100 against the default (95 % interval -0.010 to +0.210: within noise of the "
            "default); the rate lies at the edge of those tried",
        ),
        (
            {"default": None, "low": None, "high": None, "failed": 2},
            "tuned: learning rate 0.002 (2 x the row's own), the best of 13 settings (2 of them diverged or couldn't "
            "run) by nDCG@10 on 40 unseen dev queries, 3 seeds each; the default diverged",
        ),
    ],
)
def test_a_footnote_says_what_was_chosen_and_how_sure_that_is(changes, words):
    assert footnote(chosen(**changes), "nDCG@10") == words


@pytest.mark.parametrize("key", [{}, {"drawn_as": "random"}])
def test_a_copy_draws_as_its_row(world, key):
    """Two rows of one method draw independently, except a row and its tuned copy."""
    from negmark.train.inputs import load_materials
    from world import take_steps

    def drawn(**changes):
        spec = world.spec("random", row=changes.pop("row", None)) | changes
        run = set_up(spec, load_materials(world.dataset, world.vectors, {}))
        return [negatives.ids.tolist() for _, negatives in take_steps(run, 2)]

    assert (drawn() == drawn(row="random_tuned", **key)) is bool(key)
