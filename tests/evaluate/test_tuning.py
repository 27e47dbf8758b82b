"""Tuning: the same trials for the same seed, equally many per row, chosen only on dev, and shown as tuned."""

import copy
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from builders import ROOT
from negmark.core.errors import UserError
from negmark.evaluate import tune
from negmark.methods import registry
from negmark.methods.types import Tried
from negmark.store.collection import write_table
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.open import open_suite
from negmark.suite.trials import tuning_task
from negmark.suite.tuning import Chosen, Tuned, footnote, points
from negmark.train.run import set_up
from tiny import SUITE

RATES = [0.1, 0.3, 1.0, 3.0, 10.0]
SPACE = {"a": Tried((1, 2, 3), "here"), "b": Tried((None, "x"), "here")}
TRACKS = [
    (method, track)
    for method in registry.available().values()
    for track in ("controlled", *(["faithful"] if method.faithful else []))
]
every_row = pytest.mark.parametrize(
    ("method", "track"), TRACKS, ids=[f"{method.name}/{track}" for method, track in TRACKS]
)


def suite(**changes):
    """The tiny suite with a dev split, two rows to tune and three trials."""
    config = copy.deepcopy(SUITE)
    config["datasets"] = {"pydoc": {"source": "scifact"}}
    config["tuning"] = {"trials": 3, "rates": [0.5, 1.0, 2.0], "methods": ["inbatch", "simans"]}
    return config | changes


# --- the draw ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_trials():
    assert points(SPACE, RATES, 5, 0, "m") == points(SPACE, RATES, 5, 0, "m")
    assert points(SPACE, RATES, 5, 0, "m") != points(SPACE, RATES, 5, 1, "m")
    assert [point.params for point in points(SPACE, RATES, 5, 0, "m")] != [
        point.params for point in points(SPACE, RATES, 5, 0, "n")
    ]


def test_the_first_trial_is_the_row_as_it_is():
    assert points(SPACE, RATES, 4, 3, "m")[0] == (1.0, {})


def test_rates_are_the_same_for_all_and_none_comes_twice():
    of_one, of_none = points(SPACE, RATES, 4, 0, "m"), points({}, RATES, 4, 0, "n")
    assert [point.factor for point in of_one] == [point.factor for point in of_none]
    assert len(set(of_one_rates := [point.factor for point in of_one])) == 4
    assert set(of_one_rates) <= set(RATES)
    assert sorted(point.factor for point in points({}, RATES, 5, 0, "n")) == RATES


def test_every_value_comes_up_as_often():
    drawn = points({"a": SPACE["a"]}, [float(rate) for rate in range(1, 8)], 7, 0, "m")[1:]
    assert Counter(point.params["a"] for point in drawn) == {1: 2, 2: 2, 3: 2}


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
    # the share of poison is what that control is, and not to be tuned
    assert declared == (bool(method.Params.model_fields) and not method.gives_positives)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "far"])
def test_simans_tunes_the_sharpness_that_its_kernel_reads(kernel):
    method = registry.available()["simans"]
    space = method.space(method.Params(kernel=kernel), "controlled")
    assert list(space) == (["a"] if kernel == "gaussian" else ["tau"])
    assert all(value is None or value > 0 for value in space[next(iter(space))].values)


# --- the suite --------------------------------------------------------------------------------------------


def test_every_row_gets_as_many_trials(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without a tuned.json
    for file in sorted((ROOT / "config").glob("*.yaml")):
        layout = open_suite(yaml.safe_load(file.read_text()), [file])
        counts = Counter(Path(path).parts[4].split(".trial-")[0] for path in layout.trial_curves())
        assert len(set(counts.values())) <= 1, file.name
        tried = {row for row, tier in layout.contents.tiers.items() if tier != "rerank"}
        assert set(counts) == (tried if layout.suite.with_dev else set()), file.name


def test_what_a_row_sets_itself_is_not_tuned():
    config = suite(methods={"simans": {"a": 2.0}, "inbatch": None})
    loaded = load(config, "x")
    assert all(point.params == {} for point in loaded.points(loaded.rows["simans"]))
    loaded = load(suite(methods={"simans": None, "inbatch": None}), "x")
    assert any("a" in point.params for point in loaded.points(loaded.rows["simans"]))


def test_trials_are_ordinary_runs_with_their_rate_and_an_end_on_dev():
    layout = Layout(load(suite(), "x"))
    points_ = layout.suite.points(layout.suite.rows["simans"])
    base = layout.specs.run(layout.datasets["pydoc"], layout.all_rows["simans"])
    for number, point in enumerate(points_):
        spec = layout.specs.run(layout.datasets["pydoc"], layout.all_rows[f"simans.trial-{number}"])
        assert spec["training"]["learning_rate"] == pytest.approx(1e-3 * point.factor)
        assert spec["training"]["curve_every"] == spec["training"]["steps"] == 8
        assert spec["params"] == {**base["params"], **point.params}
        own = {"training", "params", "row"}
        rest = {key: value for key, value in base.items() if key not in own}
        assert {key: value for key, value in spec.items() if key not in own} == {
            **rest,
            "drawn_as": "simans",  # its draws are those of the row, so that only settings differ
        }
    assert "curve_every" not in base["training"]
    board = layout.contents.rows
    assert board == list(SUITE["methods"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tuning": {"trials": 4, "rates": [0.5, 1.0, 2.0]}}, "tuning.trials: 4 trials need as many learning rates"),
        ({"tuning": {"rates": [0.5, 2.0]}}, "tuning.rates: .*1, the suite's own rate, must"),
        ({"tuning": {"rates": [1.0, 1.0]}}, "tuning.rates: each factor may be listed once"),
        ({"tuning": {"methods": ["simnas"]}}, "tuning.methods: no row 'simnas'.*did you mean 'simans'"),
        (
            {"methods": {"inbatch": None, "inbatch_tuned": {"method": "random"}}, "tuning": {}},
            "methods.inbatch_tuned: this is the name",
        ),
        (
            {"methods": {"random": None, "after": {"method": "inbatch", "start": "random"}}, "tuning": {"seeds": [9]}},
            "tuning.seeds: after starts from random, whose seeds are",
        ),
        ({"rerank": {"curve_every": 5}}, "rerank.curve_every"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_in_one_line(changes, words):
    with pytest.raises(UserError, match=words):
        load(suite(**changes), "x")


# --- the choice -------------------------------------------------------------------------------------------


def plan(layout: Layout):
    return json.loads(tuning_task(layout.suite, layout.specs, []))


def write_trials(folder: Path, task, values) -> None:
    """Write the dev curves of all trials: nDCG@10 by (row, trial), the same for all seeds up to a spread."""
    for (row, trial), value in values.items():
        for place, seed in enumerate(task["seeds"]):
            run = folder / f"results/runs/{task['suite']}/pydoc/{row}.trial-{trial}/seed-{seed}"
            run.mkdir(parents=True)
            at_end = value + (place - (len(task["seeds"]) - 1) / 2) * 0.01
            columns = {
                "step": [4, 8],
                "queries": [50] * 2,
                "nDCG@10": [0.99, at_end],
                "unseen_queries": [0] * 2,
            }
            columns |= {
                "nDCG@10/unseen": [None] * 2,
                "vectors": [9] * 2,
                "searches": [0] * 2,
                "wall_seconds": [1.0] * 2,
            }
            write_table(run / "dev.parquet", columns)


def test_the_best_mean_at_the_end_is_chosen_and_a_tie_goes_to_the_row_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = Layout(load(suite(), "x"))
    task = plan(layout)
    values = {("inbatch", 0): 0.5, ("inbatch", 1): 0.5, ("inbatch", 2): 0.4}
    values |= {("simans", 0): 0.3, ("simans", 1): 0.6, ("simans", 2): 0.6}
    write_trials(tmp_path, task, values)
    tune.main(json.dumps(task), Path(layout.paths.tuned))
    tuned = json.loads(Path(layout.paths.tuned).read_text())
    rows = tuned["datasets"]["pydoc"]
    assert tuned["trials"] == 3
    assert rows["inbatch"]["trial"] == 0
    assert (rows["inbatch"]["dev"], rows["inbatch"]["learning_rate"]) == (pytest.approx(0.5), 1e-3)
    point = layout.suite.points(layout.suite.rows["simans"])[1]
    assert rows["simans"]["trial"] == 1, "the first of equals"
    assert (rows["simans"]["factor"], rows["simans"]["params"]) == (point.factor, point.params)
    assert (rows["simans"]["dev"], rows["simans"]["default"]) == (pytest.approx(0.6), pytest.approx(0.3))
    text = (tmp_path / layout.paths.tuned).with_name("trials.csv").read_text()
    assert len(text.splitlines()) == 1 + 2 * 3 * len(task["seeds"])


def test_a_suite_without_a_row_to_tune_is_refused(tmp_path):
    layout = Layout(load(suite(tier="rerank", methods={"random": None}, tuning={}), "x"))
    assert layout.trial_curves() == []
    with pytest.raises(UserError, match="tiny: nothing to tune"):
        tune.main(tuning_task(layout.suite, layout.specs, []), tmp_path / "tuned.json")


def tuned_file(layout: Layout, **changes) -> Tuned:
    rows = {
        row: Chosen(trial=1, factor=2.0, learning_rate=2e-3, params=params, dev=0.6, default=0.5, slice="unseen",
                    queries=40, under=layout.specs.tuned_under(layout.datasets["pydoc"], layout.rows[row]))
        for row, params in (("inbatch", {}), ("simans", {"a": 2.0}))
    }  # fmt: skip
    return Tuned(suite="tiny", metric="nDCG@10", trials=3, seeds=[0, 1], datasets={"pydoc": rows}, **changes)


def test_tuned_rows_are_listed_beside_the_suites_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    untuned = Layout(load(suite(tuned=True), "x"))
    assert untuned.targets() == [untuned.paths.tuned], "the first run tunes"
    assert untuned.contents.rows == ["inbatch", "random", "simans"]
    Path(untuned.paths.tuned).parent.mkdir(parents=True)
    Path(untuned.paths.tuned).write_text(tuned_file(untuned).model_dump_json())
    layout = Layout(load(suite(tuned=True), "x"))
    assert layout.contents.rows == ["inbatch", "random", "simans", "inbatch_tuned", "simans_tuned"]
    spec, base = (
        layout.specs.run(layout.datasets["pydoc"], layout.all_rows[row]) for row in ("simans_tuned", "simans")
    )
    assert spec["drawn_as"] == "simans"
    assert spec["params"] == {**base["params"], "a": 2.0}
    assert spec["training"] == {**base["training"], "learning_rate": 2e-3}
    about = json.loads(layout.about.runs(layout.datasets["pydoc"], layout.rows["simans_tuned"]))
    assert about["title"] == "SimANS, tuned"
    assert about["params"]["a"] == 2.0
    assert about["params"]["learning_rate"] == 2e-3
    assert about["adaptations"][-1] == (
        "tuned: learning rate 0.002 (2 x the suite's), a 2.0, the best of 3 trials by nDCG@10 on 40 unseen dev "
        "queries, 2 seeds each"
    )
    assert (
        json.loads(layout.about.runs(layout.datasets["pydoc"], layout.rows["simans"]))["adaptations"]
        == about["adaptations"][:-1]
    )


def test_what_was_tuned_under_other_settings_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = Layout(load(suite(tuned=True), "x"))
    Path(first.paths.tuned).parent.mkdir(parents=True)
    Path(first.paths.tuned).write_text(tuned_file(first).model_dump_json())
    curved = {**SUITE["training"], "curve_every": 2}
    assert Layout(load(suite(tuned=True, training=curved), "x")).contents.rows[-1] == "simans_tuned", (
        "looking on is no other setting"
    )
    for changes in ({"training": {**SUITE["training"], "steps": 9}}, {"pools": {"depth": 9}}):
        with pytest.raises(UserError, match="inbatch on pydoc was tuned under other settings"):
            Layout(load(suite(tuned=True, **changes), "x"))
    with pytest.raises(UserError, match="random on pydoc is missing"):
        Layout(load(suite(tuned=True, tuning={"trials": 3, "rates": [0.5, 1.0, 2.0]}), "x"))
    Path(first.paths.tuned).write_text("{}")
    with pytest.raises(UserError, match="not a file of `tune`"):
        Layout(load(suite(tuned=True), "x"))


def test_a_row_that_was_not_beaten_says_so():
    chosen = Chosen(trial=0, factor=1.0, learning_rate=1e-3, params={}, dev=0.5, default=0.5,
                    slice="all", queries=100, under="")  # fmt: skip
    assert footnote(chosen, 9, 3, "nDCG@10") == (
        "tuned: the suite's own settings were not beaten (learning rate 0.001 (1 x the suite's)), the best of 9 trials "
        "by nDCG@10 on 100 dev queries, 3 seeds each"
    )


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
