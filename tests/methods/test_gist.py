"""GISTEmbed: the guide's mask and the losses of both tracks against worked numbers and a plain reference."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.gist import GIST, thresholds, too_similar
from negmark.methods.types import NO_DOCUMENT, Batch, Scores, Step
from negmark.train.step import one_step

GUIDE = torch.tensor([[0.8, 0.85], [0.3, 0.6]])
STUDENT = torch.tensor([[0.7, 0.65], [0.2, 0.5]])
OFF_DIAGONAL = ~torch.eye(2, dtype=torch.bool)


def guide_mask(**params):
    return too_similar(GUIDE, thresholds(GUIDE.diagonal(), GIST.Params(**params)))


def student_loss(mask, rows=slice(None)):
    scores = Scores(
        STUDENT.diagonal()[rows], STUDENT[rows], mask[rows], torch.empty(2, 0)[rows],
        torch.empty(2, 0, dtype=torch.bool)[rows], None,
    )  # fmt: skip
    return losses.info_nce(scores, 0.1).item()


def test_what_the_guide_puts_above_the_positive_is_masked():
    assert guide_mask().tolist() == [[False, True], [False, False]]


def test_losses_by_hand():
    allowed = ~guide_mask() & OFF_DIAGONAL
    assert student_loss(allowed) == pytest.approx(0.024294, abs=1e-6)
    assert student_loss(OFF_DIAGONAL) == pytest.approx(0.261332, abs=1e-6)
    rows = [student_loss(allowed, slice(row, row + 1)) for row in range(2)]
    assert rows == [0, pytest.approx(0.048587, abs=1e-6)]


def test_an_equal_similarity_is_not_masked():
    assert not too_similar(torch.tensor([[0.5, 0.5]]), torch.tensor([0.5])).any()


def test_margins_lower_the_threshold():
    positive = torch.tensor([0.8, -0.4])
    absolute = thresholds(positive, GIST.Params(margin=0.1))
    relative = thresholds(positive, GIST.Params(margin=0.1, strategy="relative"))
    torch.testing.assert_close(absolute, torch.tensor([0.7, -0.5]))
    torch.testing.assert_close(relative, torch.tensor([0.72, -0.44]))  # -0.4 * 0.9 = -0.36 would be a rise
    torch.testing.assert_close(thresholds(positive, GIST.Params()), positive)


def test_defaults_are_those_of_the_code():
    assert GIST.Params().model_dump() == {
        "margin": 0.0, "strategy": "absolute", "hard": False, "temperature": 0.01,
        "contrast_anchors": True, "contrast_positives": True,
    }  # fmt: skip


def unit_rows(rows, dimension, generator):
    return functional.normalize(torch.randn(rows, dimension, generator=generator), dim=1)


class Guide:
    """A guide of its own vectors: document and query rows are the places in the batch."""

    negatives = 3

    def __init__(self, queries, documents, labels=()):
        self.queries, self.vectors, self.labels = queries, documents, set(labels)

    def teacher_queries(self, queries):
        return self.queries[torch.from_numpy(queries)]

    def teacher_documents(self, documents):
        return self.vectors[torch.from_numpy(np.maximum(documents, 0))]

    def is_positive(self, queries, documents):
        pairs = zip(np.repeat(queries, documents.shape[1]).tolist(), documents.ravel().tolist(), strict=True)
        return np.array([pair in self.labels for pair in pairs]).reshape(documents.shape)

    def pool(self, name):
        return self

    def candidates(self, queries, depth=None):
        ids = np.tile(np.array([8, 9, NO_DOCUMENT]), (len(queries), 1))
        return ids, np.zeros(ids.shape, dtype=np.float32)


SIZE = 6


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(3)
    guide = Guide(
        unit_rows(SIZE, 3, generator), unit_rows(10, 3, generator), {(row, row) for row in range(SIZE)}
    )
    queries, positives = (
        unit_rows(SIZE, 4, generator).requires_grad_(),
        unit_rows(SIZE, 4, generator).requires_grad_(),
    )
    rows = np.arange(SIZE)
    return guide, Batch(0, rows, rows.copy(), queries, positives)


def step_of(method, batch, labels):
    """What the training loop makes of a method's answer."""
    negatives = method.negatives(batch)
    ids = np.empty((SIZE, 0), dtype=np.int64) if negatives.ids is None else negatives.ids
    vectors = unit_rows(ids.size, 4, torch.Generator().manual_seed(9)).reshape(*ids.shape, 4)
    everyone = batch.positives[None].repeat(SIZE, 0)
    allowed = torch.from_numpy(~labels(batch.queries, everyone)) & negatives.in_batch
    scores = Scores(
        (batch.query_vectors * batch.positive_vectors).sum(dim=1),
        batch.query_vectors @ batch.positive_vectors.T,
        allowed,
        torch.einsum("bd,bmd->bm", batch.query_vectors, vectors),
        torch.from_numpy(ids != NO_DOCUMENT),
        None,
    )
    return Step(batch, negatives, vectors, scores, 0.05)


def reference(guide, batch, step, temperature, anchors, positives):
    """The released losses, row by row: concatenated blocks with -inf where the guide is above the positive."""
    total = 0.0
    q, p = batch.query_vectors.detach(), batch.positive_vectors.detach()
    gq, gp = guide.queries, guide.vectors[:SIZE]
    for i in range(SIZE):
        limit = float(gq[i] @ gp[i])
        logits = [float(q[i] @ p[i])]
        for j in range(SIZE):
            if j == i:
                continue
            logits += [float(q[i] @ p[j])] if float(gq[i] @ gp[j]) <= limit else []
            logits += [float(q[i] @ q[j])] if anchors and float(gq[i] @ gq[j]) <= limit else []
            logits += [float(p[i] @ p[j])] if positives and float(gp[i] @ gp[j]) <= limit else []
        if step.negatives.ids is not None:
            for place, document in enumerate((8, 9)):
                if float(gq[i] @ guide.vectors[document]) <= limit:
                    logits.append(float(q[i] @ step.negative_vectors[i, place]))
        total += math.log(sum(math.exp((each - logits[0]) / temperature) for each in logits))
    return total / SIZE


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    ("anchors", "positives"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_faithful_loss_equals_the_released_one(example, anchors, positives, hard):
    guide, batch = example
    params = GIST.Params(contrast_anchors=anchors, contrast_positives=positives, hard=hard, temperature=0.07)
    method = GIST(params, guide)
    step = step_of(method, batch, guide.is_positive)
    expected = reference(guide, batch, step, 0.07, anchors, positives)
    assert method.faithful_loss(step).item() == pytest.approx(expected, rel=1e-5)


def test_controlled_loss_is_the_query_positive_block_at_the_suites_temperature(example):
    guide, batch = example
    method = GIST(GIST.Params(), guide)
    step = step_of(method, batch, guide.is_positive)
    assert method.loss(step).item() == pytest.approx(
        reference(guide, batch, step, 0.05, anchors=False, positives=False), rel=1e-5
    )
    assert 0 < int(step.scores.in_batch_mask.sum()) < SIZE * (SIZE - 1)


def test_the_same_query_or_a_labelled_positive_twice_in_a_batch_is_no_negative(example):
    """The guide's strict rule leaves an equal text in where the pair itself has similarity 1."""
    _, batch = example
    same = torch.ones(10, 1)
    twice = Batch(
        0, np.zeros(SIZE, np.int64), np.zeros(SIZE, np.int64), batch.query_vectors, batch.positive_vectors
    )
    guide = Guide(same, same, {(0, 0)})
    method = GIST(GIST.Params(), guide)
    assert method.faithful_loss(step_of(method, twice, guide.is_positive)).item() == 0


def test_hard_candidates_above_the_positive_are_left_out(example):
    guide, batch = example
    ids = GIST(GIST.Params(hard=True), guide).negatives(batch).ids
    limit = (guide.queries * guide.vectors[:SIZE]).sum(dim=1)
    easy = (guide.queries @ guide.vectors[[8, 9]].T <= limit[:, None]).numpy()
    expected = np.where(easy, [8, 9], NO_DOCUMENT)
    np.testing.assert_array_equal(ids, np.pad(expected, ((0, 0), (0, 1)), constant_values=NO_DOCUMENT))
    assert {NO_DOCUMENT, 8, 9} == set(ids[:, :2].ravel().tolist())


def test_a_guide_equal_to_the_student_leaves_only_easier_documents(world):
    """Then a row's loss is at most the log of 1 + the documents that are left; at the start the two are equal."""
    run = world.run("gist")
    queries, positives = run.labels.batch(0, 0, 8)
    batch = Batch(0, queries, positives, run.encoder.queries(queries), run.encoder.documents(positives))
    allowed = run.method.negatives(batch).in_batch
    similarity = (batch.query_vectors @ batch.positive_vectors.T).detach()
    own = similarity.diagonal()[:, None]
    assert (similarity <= own + 1e-6)[allowed].all()
    assert run.services.counters.teacher_vectors == 16


def test_the_guides_vectors_are_read_once_a_step_in_both_tracks(world):
    for name in ("gist", "gist/faithful"):
        run = world.run(name)
        one_step(run, 0, keep_scores=False)
        assert run.services.counters.teacher_vectors == 16


def test_the_guide_gets_no_gradient_and_the_student_does(example):
    guide, batch = example
    method = GIST(GIST.Params(), guide)
    method.faithful_loss(step_of(method, batch, guide.is_positive)).backward()
    assert batch.query_vectors.grad.abs().sum() > 0
    assert batch.positive_vectors.grad.abs().sum() > 0
    assert not guide.queries.requires_grad
