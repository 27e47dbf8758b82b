"""What every method must hold to, whatever it does: a new file in `methods/` is tested here by itself."""

import copy
import random
import re
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from contract_checks import METHODS, assert_fit, finite_gradients, same, what_was_given
from negmark.methods import base
from negmark.methods.types import NO_DOCUMENT, Batch
from negmark.store.ledger import VECTOR
from negmark.suite.rows import RowSettings
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.services import TrainingServices
from negmark.train.step import one_step, train_until
from world import take_steps, write_world

FILES = train.MODEL, train.HISTORY, train.LEDGER, train.SCORES
every_method = pytest.mark.parametrize("name", METHODS)


def scramble_global_generators(seed):
    """Whatever a method draws from these is lost when a run is resumed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is what is meant
    torch.manual_seed(seed)


def relabels(name):
    """May the row, with its defaults, change positives and queries?"""
    kind = METHODS[name]
    return kind.relabels(kind.Params(), "faithful" if "/" in name else "controlled")


def width(given):
    """Places a query that a method fills or leaves empty."""
    return {0 if negatives.ids is None else negatives.ids.shape[1] for _, negatives in given}


def used_vectors(negatives, place):
    """Vectors of a row that count."""
    if negatives.vectors is None:
        return 0
    mask = negatives.vectors_mask
    return negatives.vectors.shape[1] if mask is None else int(mask[place].sum())


def test_an_unfiltered_draw_would_meet_positives(world):
    """Else the tests below could not fail: positives stand on top of both rankings."""
    positives = world.labels.positives()
    queries, starts = np.unique(positives.queries, return_index=True)
    for pool in (pool for kind, pool in world.pools.items() if kind != "verdicts"):  # those rank nothing
        _, best = pool.candidates(queries, 1)
        labelled = pool.positive_scores(positives.queries, positives.documents)
        assert (np.maximum.reduceat(labelled, starts) >= best[:, 0]).mean() > 0.8


@every_method
def test_negatives_hold_the_contract(name, world):
    run = world.run(name, steps=20)
    given = take_steps(run, 20)
    assert_fit(given, world, granted=4, name=name)
    assert all(np.isfinite(row["loss"]) for row in run.history)
    assert finite_gradients(run)


SMALL = {
    "clusterns": {"clusters": 4, "start_step": 0},
    "clusterns/faithful": {"clusters": 4, "start_step": 0},
    "kalm/faithful": {"skip": 0, "last": 20},
}
"""Parameters by which there is anything to give in a small world."""
MORE = {
    "gist": {"hard": True},
    "hardness": {"of": "given"},
    "generated_mixed": {"share": 1.0},
    "tas_b": {"balanced": True},
}
"""Parameters by which something else is given than by the defaults."""
GIVEN = [*((name, SMALL.get(name, {})) for name in METHODS), *MORE.items()]


@pytest.mark.parametrize(("name", "params"), GIVEN)
def test_a_row_gives_what_its_method_says(name, params, world):
    track = "faithful" if "/" in name else "controlled"
    run = world.run(name, params=params, steps=12)
    given = take_steps(run, 12)
    assert what_was_given(negatives for _, negatives in given) is run.method.gives(run.method.params, track)


@every_method
def test_something_is_learnt(name, world):
    run = world.run(name)
    before = {key: value.clone() for key, value in run.encoder.state_dict().items()}
    take_steps(run, 3)
    assert any(not torch.equal(before[key], value) for key, value in run.encoder.state_dict().items())


@every_method
def test_the_ledger_has_each_negative_and_no_positive(name, world):
    """Each that was trained on: what a method crosses out by the scores of the step (`weighed`) is none."""
    run = world.run(name)
    crossed_out, weighed = [], run.method.weighed

    def listening(step):
        scores = weighed(step)
        crossed_out.append(step.scores.negatives_mask & ~scores.negatives_mask)
        return scores

    run.method.weighed = listening
    given = take_steps(run, 6)
    table = run.ledger.table()
    rows = list(zip(*(table[key].to_pylist() for key in ("step", "query", "document")), strict=True))
    expected = []
    for (batch, negatives), out in zip(given, crossed_out, strict=True):
        for place, query in enumerate(batch.queries.tolist()):
            ids = [] if negatives.ids is None else negatives.ids[place].tolist()
            gone = out[place].tolist()
            kept = [each for each, dropped in zip(ids, gone, strict=False) if not dropped]
            vectors = [VECTOR] * (used_vectors(negatives, place) - sum(gone[len(ids) :]))
            expected += [(batch.step, query, each) for each in [*kept, *vectors] if each != NO_DOCUMENT]
    assert rows == expected
    if not METHODS[name].gives_positives:
        assert not {(query, document) for _, query, document in rows} & world.positives


@every_method
def test_equal_seeds_give_equal_runs_whatever_the_global_generators_hold(name, world):
    scramble_global_generators(1)
    first = take_steps(one := world.run(name), 4)
    scramble_global_generators(2)
    other = world.run(name)
    scramble_global_generators(3)
    assert same(first, take_steps(other, 4))
    assert one.history == other.history


@every_method
def test_no_generator_is_made_beside_that_of_the_services(name, world, monkeypatch):
    """One seeded by the method itself draws alike for every seed of the suite."""

    def refuse(*seed):
        raise AssertionError(f"{name} makes a generator of its own")

    run = world.run(name)
    monkeypatch.setattr(np.random, "default_rng", refuse)
    take_steps(run, 3)


@every_method
def test_a_method_that_draws_depends_on_seed_and_row_and_step(name, world, monkeypatch):
    """One that asks for no stream gives the same under any seed; the batches are made equal to compare."""
    asked = []
    stream = TrainingServices.rng

    def counting(services, step, purpose=""):
        asked.append(step)
        return stream(services, step, purpose)

    monkeypatch.setattr(TrainingServices, "rng", counting)

    def negatives(seed=0, row=None, shift=0):
        run = world.run(name, seed, row)
        run.seed = 0
        given = []
        for step in range(4):
            queries, positives = run.labels.batch(0, step, 8)
            vectors = run.encoder.queries(queries), run.encoder.documents(positives)
            run.method.refresh(step + shift)
            batch = Batch(step + shift, queries, positives, *vectors)
            given.append((batch, run.method.negatives(batch)))
        return given

    reference = negatives()
    others = [negatives(seed=1), negatives(row="another_row"), negatives(shift=4)]
    assert same(reference, negatives())
    assert [same(reference, other) for other in others] == [not asked] * 3


def pairs_of(batches):
    """The pairs of a query and a positive of all batches, sorted."""
    return sorted(
        pair for _, *sides in batches for pair in zip(*(side.tolist() for side in sides), strict=True)
    )


@every_method
def test_every_method_sees_the_same_queries_and_positives(name, world):
    """In the same batches, unless it puts them together itself; then over the whole run."""
    if relabels(name):
        pytest.skip("it says that it changes them: tests/methods/test_rlhn.py")
    for seed in (0, 5):
        run = world.run(name, seed, steps=5)
        seen = [(batch.step, batch.queries, batch.positives) for batch, _ in take_steps(run, 5)]
        expected = [(step, *world.run("inbatch", seed).labels.batch(seed, step, 8)) for step in range(5)]
        assert pairs_of(seen) == pairs_of(expected)
        if run.batches.composition:
            continue
        for found, wanted in zip(seen, expected, strict=True):
            assert found[0] == wanted[0]
            np.testing.assert_array_equal(found[1], wanted[1])
            np.testing.assert_array_equal(found[2], wanted[2])


@every_method
def test_a_resumed_run_ends_as_an_unbroken_one(name, world, tmp_path):
    spec = world.spec(name)
    unbroken = world.run(name)
    train_until(unbroken, 6, Checkpoint(tmp_path / "unbroken", spec, every=100))
    train.write_run(unbroken, tmp_path / "first", {})

    killed = world.run(name)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=3)
    for step in range(3):
        one_step(killed, step, keep_scores=step == 0)
    checkpoint.save_if_due(killed, 3, 6)
    resumed = world.run(name)
    scramble_global_generators(4)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=3)
    train_until(resumed, 6, checkpoint)
    train.write_run(resumed, tmp_path / "second", {})

    assert checkpoint.resumed_at == 3
    assert [row["step"] for row in resumed.history] == list(range(6))
    for file in FILES:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    assert resumed.services.counters == unbroken.services.counters
    own, others = unbroken.method.state_dict(), resumed.method.state_dict()
    assert own.keys() == others.keys()
    assert all(torch.equal(own[key], others[key]) for key in own)


@every_method
def test_a_short_pool_leaves_places_empty(name, world, shallow_world):
    run = shallow_world.run(name, negatives=8)
    given = take_steps(run, 6)
    assert_fit(given, shallow_world, granted=8, name=name)
    assert all(np.isfinite(row["loss"]) for row in run.history)
    assert finite_gradients(run)
    assert width(given) == width(take_steps(world.run(name, negatives=8), 1))


@every_method
def test_a_corpus_smaller_than_the_negatives_granted(name, tiny_world):
    run = tiny_world.run(name, negatives=8, batch_size=4)
    assert_fit(take_steps(run, 6), tiny_world, granted=8, name=name)
    assert all(np.isfinite(row["loss"]) for row in run.history)
    assert finite_gradients(run)


def all_equal(documents, queries, labels):
    documents[:] = queries[:] = np.eye(1, documents.shape[1], dtype=np.float32)


def positives_opposite(documents, queries, labels):
    all_equal(documents, queries, labels)
    documents[labels[labels[:, 2] > 0, 1]] *= -1


def negatives_opposite(documents, queries, labels):
    positives_opposite(documents, queries, labels)
    documents *= -1


@pytest.fixture(
    scope="module", params=[all_equal, positives_opposite, negatives_opposite], ids=lambda f: f.__name__
)
def extreme_world(request, tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("extreme"), change=request.param)


@every_method
def test_extreme_scores_give_finite_loss_and_gradients(name, extreme_world):
    run = extreme_world.run(name, temperature=0.01)
    for step in range(3):
        assert_fit(take_steps(run, 1, step), extreme_world, granted=4, name=name)
        assert finite_gradients(run)
    assert all(np.isfinite(row["loss"]) for row in run.history)


def taken_of(given):
    """What was taken last, for the run to do with as it likes."""
    return copy.deepcopy(given[-1])


@every_method
def test_the_batch_is_left_as_it_was(name, world):
    run = world.run(name)
    taken, given = run.batches.taken, []
    run.batches.taken = lambda step: given.append(copy.deepcopy(taken(step))) or taken_of(given)
    for (batch, _), (queries, positives) in zip(take_steps(run, 3), given, strict=True):
        if relabels(name):
            continue
        np.testing.assert_array_equal(batch.queries, queries)
        np.testing.assert_array_equal(batch.positives, positives)


@every_method
def test_pools_are_left_as_they_were(name, world):
    before = {kind: copy.deepcopy(pool.__dict__) for kind, pool in world.pools.items()}
    take_steps(world.run(name), 3)
    for kind, pool in world.pools.items():
        for key, value in before[kind].items():
            np.testing.assert_array_equal(value, pool.__dict__[key])


@every_method
def test_the_declared_work_is_what_a_run_counts(name, world):
    """What a plan multiplies with the corpus; where a parameter decides it, with several values of that too."""
    kind, track = METHODS[name], "faithful" if "/" in name else "controlled"
    refreshed = "refresh_steps" in kind.Params.model_fields
    for params in [{}, *({"refresh_steps": every} for every in (1, 3, 7) if refreshed)]:
        run = world.run(name)
        run.method.params = kind.Params(**params)
        take_steps(run, 7)
        work, counted = kind.work(run.method.params, track, 7, 8), run.services.counters
        assert (work.corpus_encodings, work.searches) == (counted.refreshes, counted.searches), params


@every_method
def test_all_rows_look_at_one_depth_by_default(name):
    depths = {
        field.default for key, field in METHODS[name].Params.model_fields.items() if key in {"depth", "top"}
    }
    assert depths <= {base.DEPTH} == {200}


@every_method
def test_what_was_idle_is_said_in_a_few_words_and_survives_a_restart(name, world):
    run, other = world.run(name), world.run(name)
    take_steps(run, 3)
    words = run.method.idle()
    assert len(words) < 120
    assert not words.endswith(".")
    other.method.load_state_dict(run.method.state_dict())
    assert other.method.idle() == words


@every_method
def test_the_docstring_answers_the_four_questions(name):
    text = sys.modules[METHODS[name].__module__].__doc__
    parts = ["What the paper says", "What the released code does", "What we do", "Cost per step"]
    starts = [re.search(rf"^{part}\b[^:\n]*", text, re.MULTILINE) for part in parts]
    assert all(starts), [part for part, start in zip(parts, starts, strict=True) if not start]
    assert [start.start() for start in starts] == sorted(start.start() for start in starts)
    assert METHODS[name].summary().endswith((".", "?"))


@every_method
def test_title_and_citation_can_be_shown(name):
    method = METHODS[name]
    assert method.name == name.partition("/")[0]
    assert method.title
    assert re.search(r"\b(19|20)\d\d\b", method.citation)


@every_method
def test_parameters_are_typed_documented_and_closed(name):
    kind = METHODS[name].Params
    assert issubclass(kind, base.Params)
    assert not kind.model_fields.keys() & RowSettings.model_fields.keys(), (
        "a row of a suite has such keys itself"
    )
    undocumented = [key for key, field in kind.model_fields.items() if not field.description]
    assert not undocumented
    assert kind.model_validate(kind().model_dump(mode="json")) == kind()
    with pytest.raises(ValidationError, match="no_such_parameter"):
        kind(no_such_parameter=1)
