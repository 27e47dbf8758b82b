"""What the contract lets a method do, shown by methods made for it and run through the real training step."""

import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.methods import losses, registry
from negmark.methods.base import Method
from negmark.methods.types import NO_DOCUMENT, Negatives
from negmark.store.ledger import VECTOR
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.step import _example, one_step, train_until
from world import take_steps

SIZE = 8


@pytest.fixture
def start(world, monkeypatch):
    """Give a function that sets a run of a method class up, registered for this test alone."""

    def started(kind, **training):
        kind.name, kind.title = "toy", "Toy"
        registry.check(kind)
        monkeypatch.setattr(registry, "available", lambda: {"toy": kind})
        return world.run("toy", **training)

    return started


def following(batch, documents, count=2):
    """Documents behind the positive, as ids [B, count]."""
    return (batch.positives[:, None] + np.arange(1, count + 1)) % documents


def example_of(run, step=0):
    return _example(run, step)


def ledger_rows(run):
    table = run.ledger.table()
    return {name: np.array(column.to_pylist()) for name, column in table.items()}


class Centroids(Method):
    """Two vectors a query beside one document."""

    def negatives(self, batch):
        vectors = torch.eye(16)[:2].expand(len(batch.queries), 2, 16)
        return Negatives(ids=following(batch, self.services.documents, 1), vectors=vectors, source="centroid")


def test_vectors_are_negatives_behind_the_documents(start):
    run = start(Centroids)
    example = example_of(run)
    expected = example.batch.query_vectors[:, :2]
    torch.testing.assert_close(example.scores.negatives[:, 1:], expected)
    assert example.scores.negatives_mask.all()
    assert example.negative_vectors.shape == (SIZE, 3, 16)


def test_vectors_stand_in_the_ledger_as_such(start):
    run = start(Centroids)
    given = take_steps(run, 3)
    rows = ledger_rows(run)
    documents = rows["document"].reshape(3 * SIZE, 3)
    np.testing.assert_array_equal(documents[:, 0], np.concatenate([each.ids[:, 0] for _, each in given]))
    assert (documents[:, 1:] == VECTOR).all()
    assert set(rows["source"]) == {"centroid"}
    np.testing.assert_array_equal(
        rows["query"], np.repeat(np.concatenate([batch.queries for batch, _ in given]), 3)
    )


def test_vectors_are_no_documents_of_the_cost(start):
    run = start(Centroids)
    take_steps(run, 3)
    assert run.services.counters.document_vectors == 3 * (SIZE + SIZE)
    assert run.services.counters.query_vectors == 3 * SIZE
    assert run.services.counters.extra_vectors == 0


class VectorsAlone(Method):
    def negatives(self, batch):
        return Negatives(vectors=batch.query_vectors.detach()[:, None])


def test_vectors_need_no_documents_beside_them(start):
    run = start(VectorsAlone)
    torch.testing.assert_close(example_of(run).scores.negatives, torch.ones(SIZE, 1))
    take_steps(run, 2)
    assert (ledger_rows(run)["document"] == VECTOR).all()


class SomeVectors(Method):
    """Two vectors a query, of which the second counts in every other row."""

    def negatives(self, batch):
        size = len(batch.queries)
        mask = torch.stack([torch.ones(size), torch.arange(size) % 2], dim=1).bool()
        vectors = torch.eye(16)[:2].expand(size, 2, 16)
        return Negatives(ids=following(batch, self.services.documents, 1), vectors=vectors, vectors_mask=mask)


def test_vectors_that_are_masked_take_no_part_and_stand_in_no_ledger(start):
    run = start(SomeVectors)
    mask = example_of(run).scores.negatives_mask
    assert mask.tolist() == [[True, True, row % 2 == 1] for row in range(SIZE)]
    take_steps(run, 1)
    assert (ledger_rows(run)["document"] == VECTOR).sum() == SIZE + SIZE // 2


class Judging(Method):
    """Documents of the batch weigh three, given ones two, and the best of each row is dropped, all by their scores."""

    def negatives(self, batch):
        return Negatives(ids=following(batch, self.services.documents))

    def weighed(self, step):
        scores = step.scores
        given = scores.negatives.detach()
        return replace(
            scores,
            negatives_mask=scores.negatives_mask & (given < given.max(dim=1, keepdim=True).values),
            weights=torch.full_like(given, 2.0),
            in_batch_weights=torch.full_like(scores.in_batch, 3.0).detach(),
        )


def test_a_method_may_weigh_and_drop_by_the_scores(start):
    run = start(Judging)
    scores = (example := example_of(run)).scores
    expected = 0.0
    for row in range(SIZE):
        own = scores.positive[row] / 0.05
        batch = scores.in_batch[row][scores.in_batch_mask[row]] / 0.05 + math.log(3)
        worse = scores.negatives[row].min() / 0.05 + math.log(2)
        expected += (torch.cat([own[None], batch, worse[None]]).logsumexp(dim=0) - own) / SIZE
    torch.testing.assert_close(run.method.loss(example), expected)
    take_steps(run, 2)
    rows = ledger_rows(run)
    assert len(rows["document"]) == 2 * SIZE
    assert set(rows["weight"]) == {2.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: None, r"weighed\(\) must return Scores, found NoneType"),
        (
            lambda scores: replace(scores, negatives=2 * scores.negatives),
            "weighed.* may set weights and masks, not the scores, and negatives is another",
        ),
        (
            lambda scores: replace(scores, in_batch_mask=torch.ones_like(scores.in_batch_mask)),
            r"weighed\(\) may narrow in_batch_mask only",
        ),
        (
            lambda scores: replace(scores, negatives_mask=scores.negatives_mask[:, :1]),
            r"negatives_mask must be bool \[8, 2\], found torch.bool \(8, 1\)",
        ),
        (
            lambda scores: replace(scores, weights=torch.ones(SIZE, 3)),
            r"weights must be \[8, 2\], found .* \(8, 3\)",
        ),
        (
            lambda scores: replace(scores, in_batch_weights=-torch.ones(SIZE, SIZE)),
            "in_batch_weights must be finite numbers, none below 0",
        ),
    ],
)
def test_scores_that_a_method_may_not_give_are_refused(start, change, message):
    class Wrong(Judging):
        def weighed(self, step):
            return change(step.scores)

    with pytest.raises(UserError, match=r"test_contract\.py: toy: " + message):
        one_step(start(Wrong), 0, keep_scores=False)


def test_a_method_knows_the_steps_of_its_run(start):
    assert start(VectorsAlone, steps=11).services.steps == 11


class Weighted(Method):
    def negatives(self, batch):
        weights = torch.tensor([2.0, 0.5]).repeat(len(batch.queries), 1)
        return Negatives(ids=following(batch, self.services.documents), weights=weights)


def test_weights_enter_the_loss_and_the_ledger(start):
    run = start(Weighted)
    scores, temperature = (example := example_of(run)).scores, 0.05
    logits = torch.cat(
        [
            scores.in_batch.masked_fill(
                ~(scores.in_batch_mask | torch.eye(SIZE, dtype=torch.bool)), -torch.inf
            ),
            scores.negatives + temperature * torch.tensor([math.log(2.0), math.log(0.5)]),
        ],
        dim=1,
    )
    expected = functional.cross_entropy(logits / temperature, torch.arange(SIZE))
    torch.testing.assert_close(run.method.loss(example), expected)
    take_steps(run, 2)
    np.testing.assert_array_equal(
        ledger_rows(run)["weight"].reshape(-1, 2), np.tile([2.0, 0.5], (2 * SIZE, 1))
    )


class NeighbourAlone(Method):
    """Of the batch, row i sees the positive of row i + 1 only; its own is named too, in vain."""

    def negatives(self, batch):
        size = len(batch.queries)
        return Negatives(in_batch=torch.eye(size, dtype=torch.bool) | torch.eye(size).roll(1, dims=1).bool())


def test_an_in_batch_mask_narrows_and_never_admits_a_labelled_positive(start, world):
    run = start(NeighbourAlone)
    queries, masks = [], []
    for step in range(8):
        example = example_of(run, step)
        for row, query in enumerate(example.batch.queries.tolist()):
            neighbour = (row + 1) % SIZE
            labelled = (query, int(example.batch.positives[neighbour])) in world.positives
            expected = [column == neighbour and not labelled for column in range(SIZE)]
            assert example.scores.in_batch_mask[row].tolist() == expected
            queries.append(query)
            masks.append(labelled)
    assert any(masks)


def test_without_a_mask_the_batch_serves_but_for_labelled_positives(start, world):
    class Nothing(Method):
        def negatives(self, batch):
            return Negatives()

    run = start(Nothing)
    shared = 0
    for step in range(8):
        example = example_of(run, step)
        pairs = [
            [(query, row) for row in example.batch.positives.tolist()]
            for query in example.batch.queries.tolist()
        ]
        expected = [[pair not in world.positives for pair in row] for row in pairs]
        assert example.scores.in_batch_mask.tolist() == expected
        shared += SIZE * (SIZE - 1) - int(example.scores.in_batch_mask.sum())
    assert shared > 0


class Queue(Method):
    """Gives the positives of the step before: its state is what a resumed run needs."""

    def __init__(self, params, services):
        super().__init__(params, services)
        self.before = torch.full((SIZE,), NO_DOCUMENT)

    def negatives(self, batch):
        ids = np.tile(self.before.numpy(), (len(batch.queries), 1))
        ids[self.services.is_positive(batch.queries, ids)] = NO_DOCUMENT
        self.before = torch.from_numpy(batch.positives.copy())
        return Negatives(ids=ids)

    def state_dict(self):
        return {"before": self.before}

    def load_state_dict(self, state):
        self.before = state["before"]


class Projected(Method):
    """Negatives are moved by a network of the method's own."""

    def __init__(self, params, services):
        super().__init__(params, services)
        self.networks = nn.ModuleDict({"move": nn.Linear(16, 16)})

    def negatives(self, batch):
        moved = functional.normalize(self.networks["move"](batch.query_vectors.detach()), dim=1)
        return Negatives(vectors=moved[:, None])

    def extra_modules(self):
        return self.networks


def unbroken_and_resumed(start, world, kind, folder):
    runs = start(kind), start(kind), start(kind)
    unbroken, killed, resumed = runs
    spec = world.spec("toy")
    train_until(unbroken, 6, Checkpoint(folder / "none", spec, every=100))
    take_steps(killed, 3)
    Checkpoint(folder / "state", spec, every=3).save_if_due(killed, 3, 6)
    torch.manual_seed(99)
    checkpoint = Checkpoint(folder / "state", spec, every=3)
    train_until(resumed, 6, checkpoint)
    assert checkpoint.resumed_at == 3
    return unbroken, resumed


def test_state_of_a_method_survives_a_restart(start, world, tmp_path):
    unbroken, resumed = unbroken_and_resumed(start, world, Queue, tmp_path)
    assert unbroken.history == resumed.history
    first, second = ledger_rows(unbroken), ledger_rows(resumed)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert 3 in first["step"]
    assert 0 not in first["step"]


def test_networks_of_a_method_are_trained_and_survive_a_restart(start, world, tmp_path):
    at_start = {name: value.clone() for name, value in start(Projected).method.networks.state_dict().items()}
    unbroken, resumed = unbroken_and_resumed(start, world, Projected, tmp_path)
    for name, value in unbroken.method.networks.state_dict().items():
        assert not torch.equal(value, at_start[name])
        assert torch.equal(value, resumed.method.networks.state_dict()[name])
    assert unbroken.history == resumed.history


def test_networks_of_a_method_start_equal_for_equal_seeds(start):
    first = start(Projected).method.networks.state_dict()
    torch.manual_seed(99)
    assert all(
        torch.equal(first[name], value)
        for name, value in start(Projected).method.networks.state_dict().items()
    )


def test_state_for_a_method_that_keeps_none_is_refused(start):
    method = start(VectorsAlone).method
    method.load_state_dict({})
    with pytest.raises(ValueError, match=r"VectorsAlone keeps no state but was given \['queue'\]"):
        method.load_state_dict({"queue": torch.zeros(1)})


class Remined(Method):
    """Mines anew on every third step, by vectors of the current encoder."""

    def __init__(self, params, services):
        super().__init__(params, services)
        self.calls = []

    def refresh(self, step):
        self.calls.append(("refresh", step))
        if step % 3 == 0:
            self.corpus = self.services.encode_documents(np.arange(self.services.documents))

    def negatives(self, batch):
        self.calls.append(("negatives", batch.step))
        scores = (self.services.encode_queries(batch.queries) @ self.corpus.T).numpy()
        everything = np.tile(np.arange(self.services.documents), (len(batch.queries), 1))
        scores[self.services.is_positive(batch.queries, everything)] = -np.inf
        return Negatives(ids=np.argsort(-scores, axis=1)[:, :4])


def test_refresh_is_called_before_each_step(start):
    run = start(Remined)
    take_steps(run, 5)
    assert run.method.calls == [
        call for step in range(5) for call in (("refresh", step), ("negatives", step))
    ]


def test_vectors_that_a_method_asks_for_are_current_and_counted_and_without_gradient(start):
    run = start(Remined)
    before = run.services.encode_documents(np.arange(60))
    take_steps(run, 4)
    assert run.services.counters.extra_vectors == 60 + 2 * 60 + 4 * SIZE
    assert run.services.counters.document_vectors == 4 * (SIZE + 4 * SIZE)
    after = run.services.encode_documents(np.arange(60))
    assert not after.requires_grad
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, run.encoder.documents(np.arange(60)).detach())


def test_a_pool_that_was_not_declared_is_refused(start):
    class Undeclared(Method):
        def negatives(self, batch):
            return Negatives(ids=self.services.pool("dense").candidates(batch.queries, 2)[0])

    with pytest.raises(KeyError, match="toy asks for the pool 'dense' but doesn't name it in `pools`"):
        one_step(start(Undeclared), 0, keep_scores=False)


class Margin(Method):
    """Its own loss: hinge on cosines of its negatives alone."""

    def negatives(self, batch):
        return Negatives(ids=following(batch, self.services.documents))

    def loss(self, step):
        gaps = step.scores.negatives - step.scores.positive[:, None] + 0.9
        return gaps.clamp(min=0).mean()


def test_a_method_may_have_a_loss_of_its_own(start):
    run = start(Margin)
    queries, positives = run.labels.batch(0, 0, SIZE)
    left = run.encoder._queries[queries].numpy()
    right = run.encoder._documents.numpy()
    others = right[(positives[:, None] + [1, 2]) % 60]
    gaps = np.einsum("bd,bmd->bm", left, others) - (left * right[positives]).sum(axis=1)[:, None] + 0.9
    one_step(run, 0, keep_scores=False)
    assert run.history[0]["loss"] == pytest.approx(np.maximum(gaps, 0).mean(), rel=1e-5)
    assert not torch.equal(run.encoder.query, torch.eye(16))


def test_the_loss_unless_overridden_is_info_nce(start):
    run = start(Weighted)
    example = example_of(run)
    assert torch.equal(run.method.loss(example), losses.info_nce(example.scores, 0.05))


def test_negative_documents_and_the_batch_are_trained(start):
    run = start(Margin)
    example = example_of(run)
    run.method.loss(example).backward()
    assert run.encoder.query.grad.abs().sum() > 0
    assert run.encoder.document.grad.abs().sum() > 0
    assert example.negative_vectors.requires_grad


def test_empty_places_are_masked_and_not_entered(start):
    class OneOfThree(Method):
        def negatives(self, batch):
            ids = np.full((len(batch.queries), 3), NO_DOCUMENT)
            ids[:, 1] = following(batch, self.services.documents, 1)[:, 0]
            return Negatives(ids=ids)

    run = start(OneOfThree)
    assert example_of(run).scores.negatives_mask.tolist() == [[False, True, False]] * SIZE
    given = take_steps(run, 2)
    rows = ledger_rows(run)
    np.testing.assert_array_equal(rows["document"], np.concatenate([each.ids[:, 1] for _, each in given]))
    assert run.services.counters.document_vectors >= 2 * 2 * SIZE


def test_a_loss_that_is_no_number_stops_the_run(start):
    class Broken(Margin):
        def loss(self, step):
            return step.scores.positive.mean() * math.nan

    with pytest.raises(UserError, match="toy: the loss is nan at step 0"):
        one_step(start(Broken), 0, keep_scores=False)


class Observing(Method):
    """Tells on every second step what it saw; one number comes late."""

    def __init__(self, params, services):
        super().__init__(params, services)
        self.calls, self.told = [], {}

    def negatives(self, batch):
        self.calls.append("negatives")
        return Negatives(ids=following(batch, self.services.documents))

    def loss(self, step):
        self.calls.append("loss")
        return super().loss(step)

    def observe(self, step):
        self.calls.append("observe")
        self.told = {"seen": step.scores.negatives.mean().item()} if step.batch.step % 2 else {}
        if step.batch.step >= 4:
            self.told["late"] = step.batch.step

    def faithful_loss(self, step):
        self.calls.append("faithful")
        return super().loss(step)

    def telemetry(self):
        return self.told


def test_a_method_observes_each_step_between_loss_and_optimiser(start):
    run = start(Observing)
    at_observation = []
    run.method.observe = lambda step: at_observation.append((run.method.calls[-1], run.encoder.query.clone()))
    before = run.encoder.query.clone()
    one_step(run, 0, keep_scores=False)
    ((called, then),) = at_observation
    assert called == "loss"
    assert torch.equal(then, before)
    assert not torch.equal(run.encoder.query, before)


def test_a_method_observes_in_the_faithful_track_too(start):
    run = start(Observing)
    run.services._track = "faithful"
    one_step(run, 0, keep_scores=False)
    assert run.method.calls == ["negatives", "faithful", "observe"]


def test_telemetry_gives_columns_of_the_history_empty_where_a_step_has_none(start, tmp_path):
    run = start(Observing)
    take_steps(run, 6)
    fixed = [
        "step", "loss", "learning_rate", "positive_score", "in_batch_score", "negative_score",
        "negative_score_max", "places", "places_empty", "queries_without", "in_batch_copies", "in_batch_own",
    ]  # fmt: skip
    assert [list(row) for row in run.history] == [[*fixed, "seen", "late"]] * 6
    assert [row["seen"] is None for row in run.history] == [True, False] * 3
    assert [row["late"] for row in run.history] == [None] * 4 + [4.0, 5.0]
    for row in run.history[1::2]:
        assert row["seen"] == pytest.approx(row["negative_score"])
    train.write_run(run, tmp_path, {})
    assert pq.read_table(tmp_path / train.HISTORY).to_pylist() == run.history


def test_telemetry_survives_a_restart(start, world, tmp_path):
    unbroken, resumed = unbroken_and_resumed(start, world, Observing, tmp_path)
    assert unbroken.history == resumed.history
    assert [list(row) for row in unbroken.history] == [list(row) for row in resumed.history]


def test_telemetry_may_not_take_a_column_of_the_loop(start):
    class Taken(Observing):
        def telemetry(self):
            return {"loss": 0.0}

    with pytest.raises(
        ValueError, match="toy: telemetry may not be named 'loss', as a column of the loop is"
    ):
        one_step(start(Taken), 0, keep_scores=False)


IDS = np.zeros((SIZE, 2), dtype=np.int64)


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        (Negatives(ids=IDS[:-1]), r"ids must be int64 of shape \[8, M\], found int64 \(7, 2\)"),
        (Negatives(ids=IDS[:, 0]), r"ids must be .* found int64 \(8,\)"),
        (Negatives(ids=IDS.astype(np.int32)), r"ids must be .* found int32 \(8, 2\)"),
        (Negatives(ids=IDS.astype(float)), r"ids must be .* found float64 \(8, 2\)"),
        (
            Negatives(vectors=torch.zeros(SIZE, 16)),
            r"vectors must be \[8, V, 16\], found torch.float32 \(8, 16\)",
        ),
        (Negatives(vectors=torch.zeros(2, 1, 16)), r"vectors must be .* \(2, 1, 16\)"),
        (Negatives(vectors=torch.zeros(SIZE, 1, 15)), r"vectors must be \[8, V, 16\], found .* \(8, 1, 15\)"),
        (Negatives(ids=IDS, weights=torch.ones(SIZE, 3)), r"weights must be \[8, 2\], found .* \(8, 3\)"),
        (Negatives(weights=torch.ones(SIZE, 2)), r"weights must be \[8, 0\]"),
        (
            Negatives(ids=IDS, vectors=torch.zeros(SIZE, 1, 16), weights=torch.ones(SIZE, 2)),
            r"weights must be \[8, 3\], found .* \(8, 2\)",
        ),
        (
            Negatives(vectors=torch.zeros(SIZE, 1, 16), vectors_mask=torch.ones(SIZE, 2, dtype=torch.bool)),
            r"vectors_mask must be bool \[8, 1\], found .* \(8, 2\)",
        ),
        (Negatives(in_batch=torch.ones(SIZE, SIZE)), r"in_batch must be bool \[8, 8\], found torch.float32"),
        (Negatives(in_batch=torch.ones(SIZE, 2, dtype=torch.bool)), r"in_batch must be bool \[8, 8\]"),
    ],
)
def test_wrong_shapes_are_refused_and_said(start, negatives, message):
    class Wrong(Method):
        def negatives(self, batch):
            return negatives

    run = start(Wrong)
    with pytest.raises(UserError, match=r"^tests/methods/test_contract\.py: toy: " + message):
        one_step(run, 0, keep_scores=False)


def test_the_summary_is_the_first_line_of_the_module():
    assert registry.available()["simans"].summary() == (
        "SimANS: negatives whose score lies near the positive's are the informative ones."
    )
    assert Centroids.summary() == __doc__


class Relabelling(Method):
    """Makes document 7 the positive of every second query, and leaves the last query out."""

    @classmethod
    def relabels(cls, params, track):
        return True

    def examples(self, step, queries, positives):
        return queries[:-1], np.where(np.arange(len(queries)) % 2, 7, positives)[:-1]

    def negatives(self, batch):
        ids = following(batch, self.services.documents)
        ids[self.services.is_positive(batch.queries, ids)] = NO_DOCUMENT
        return Negatives(ids=ids)


def test_a_method_that_says_so_may_change_positives_and_leave_queries_out(start):
    run = start(Relabelling)
    example = example_of(run)
    queries, positives = run.labels.batch(0, 0, SIZE)
    np.testing.assert_array_equal(example.batch.queries, queries[:-1])
    assert (example.batch.positives[1::2] == 7).all()
    np.testing.assert_array_equal(example.batch.positives[::2], positives[:-1:2])
    torch.testing.assert_close(example.batch.positive_vectors, run.encoder.documents(example.batch.positives))
    same = example.batch.positives[:, None] == example.batch.positives
    assert not (example.scores.in_batch_mask & torch.from_numpy(same)).any(), (
        "one document is no negative of itself"
    )
    take_steps(run, 2)
    assert {7} < set(ledger_rows(run)["positive"].tolist())


def test_a_method_that_does_not_say_so_changes_nothing(start):
    class Silent(Relabelling):
        @classmethod
        def relabels(cls, params, track):
            return False

    run = start(Silent)
    np.testing.assert_array_equal(example_of(run).batch.positives, run.labels.batch(0, 0, SIZE)[1])
    take_steps(run, 1)
    assert "positive" not in ledger_rows(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, p: (q, p, p), r"examples\(\) must return queries and positives"),
        (
            lambda q, p: (q, p[:, None]),
            r"examples\(\) must return positives as int64 of shape \[b\], found int64 \(8, 1\)",
        ),
        (lambda q, p: (q.astype(np.int32), p), "must return queries as int64"),
        (lambda q, p: (q, p[:-1]), "1 to 8 queries and a positive of each, found 8 and 7"),
        (lambda q, p: (q[:0], p[:0]), "if it leaves all queries out, there is nothing to train on"),
        (lambda q, p: (q + 1000, p), r"training queries alone \(services.queries\)"),
        (lambda q, p: (q, p * 0 - 1), "positives from 0 to 59"),
        (lambda q, p: (q[[0] * 8], p), "may not repeat a query of the batch"),
    ],
)
def test_examples_that_a_method_may_not_give_are_refused(start, change, message):
    class Wrong(Relabelling):
        def examples(self, step, queries, positives):
            return change(queries, positives)

    with pytest.raises(UserError, match=r"test_contract\.py: toy: .*" + message):
        one_step(start(Wrong), 0, keep_scores=False)
