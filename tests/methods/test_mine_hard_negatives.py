"""`mine_hard_negatives`: its rules on hand-made scores, and the real function of sentence-transformers on the same."""

import numpy as np
import pytest
import torch

from negmark.methods.mine_hard_negatives import MineHardNegatives, has_rule, judged_depth, left
from negmark.methods.types import NO_DOCUMENT, Batch

SCORES, POSITIVE = [0.79, 0.77, 0.765, 0.74, 0.70, 0.50], 0.80
"""The sheet's example, .76 moved off the ceiling of .05, where single and double precision disagree."""
OFF = {"relative_margin": None}


def kept(scores=SCORES, positive=POSITIVE, **params):
    found = left(np.array([scores]), np.array([positive]), MineHardNegatives.Params(**{**OFF, **params}))
    return [score for score, stays in zip(scores, found[0], strict=True) if stays]


def test_the_rules_are_those_of_the_sheet():
    """Relative .05: above .76 is dropped; absolute .05: above .75; what meets a bound stays."""
    assert kept(relative_margin=0.05) == [0.74, 0.70, 0.50]
    assert kept(absolute_margin=0.05) == [0.74, 0.70, 0.50]
    assert kept(max_score=0.7) == [0.70, 0.50]
    assert kept(min_score=0.77) == [0.79, 0.77]
    assert kept(max_score=0.77, min_score=0.7) == [0.77, 0.765, 0.74, 0.70]
    assert kept([3.0, 2.0, -1.0], 5.0, absolute_margin=3.0) == [2.0, -1.0]


def test_below_zero_a_relative_margin_lies_below_the_positive():
    """Their issue 3819: -.5 x .95 would lie above the positive; the bound is -.525."""
    assert kept([-0.51, -0.53], -0.5, relative_margin=0.05) == [-0.53]


def test_how_deep_it_looks():
    """Ten times the negatives with a rule, as many without, behind what is skipped."""
    params = MineHardNegatives.Params
    assert judged_depth(params(range_min=4), 3) == 34
    assert judged_depth(params(range_min=4, **OFF), 3) == 7
    assert judged_depth(params(range_max=50), 3) == 50
    assert not has_rule(params(**OFF))
    assert not MineHardNegatives.asks_teacher(params(**OFF), "controlled")


class Ranked:
    """Services of six queries, whose pool and cross-encoder are tables; all have equally many positives."""

    ranker_teaches, negatives = True, 2

    def __init__(self, rng, positives=1, documents=30, queries=6):
        self.similar = rng.normal(size=(queries, documents)).astype(np.float32)
        self.logit = (2 * rng.normal(size=(queries, documents))).astype(np.float32)
        self.labels = [[row, documents - 1 - row][:positives] for row in range(queries)]
        for row, own in enumerate(self.labels):
            self.similar[row, own] += 3  # each positive is retrieved
            self.logit[row, own] += 3

    def pool(self, name):
        assert name == "dense"
        return self

    def candidates(self, queries, depth=None):
        scores = self.similar[queries].copy()
        for row, query in enumerate(queries):
            scores[row, self.labels[query]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        found = np.take_along_axis(scores, order, axis=1)
        return np.where(np.isneginf(found), NO_DOCUMENT, order), found

    def positives(self, queries):
        width = max(len(self.labels[query]) for query in queries)
        return np.array([[*own, *[NO_DOCUMENT] * width][:width] for own in (self.labels[q] for q in queries)])

    def judgments(self, queries, documents):
        return np.where(documents < 0, -np.inf, self.logit[queries[:, None], np.maximum(documents, 0)])

    def rng(self, step, purpose=""):
        return np.random.default_rng(step)


def chosen(services, queries, **params):
    method = MineHardNegatives(MineHardNegatives.Params(**params), services)
    own = np.array([services.labels[query][0] for query in queries])
    return method.negatives(Batch(0, queries, own, None, None)).ids


class Encoder:
    """What `mine_hard_negatives` asks of a bi-encoder; a text is its number, a vector one-hot."""

    device = torch.device("cpu")

    def __init__(self, services):
        self.services = services

    def encode_query(self, texts, **others):
        return np.eye(self.services.similar.shape[0], dtype=np.float32)[[int(text[1:]) for text in texts]]

    def encode_document(self, texts, **others):
        return self.services.similar.T[[int(text[1:]) for text in texts]]

    def similarity(self, queries, documents):
        return torch.as_tensor(queries) @ torch.as_tensor(documents).T

    def similarity_pairwise(self, queries, documents):
        return (torch.as_tensor(queries) * torch.as_tensor(documents)).sum(dim=1)


class CrossEncoder:
    def __init__(self, services, activation):
        self.services, self.activation = services, activation

    def predict(self, pairs, **others):
        rows = torch.tensor([[int(text[1:]) for text in pair] for pair in pairs])
        return self.activation(torch.from_numpy(self.services.logit)[rows[:, 0], rows[:, 1]])


def theirs(services, logits=False, **params):
    """The negatives of each query by sentence-transformers, in their order."""
    datasets = pytest.importorskip("datasets")
    from sentence_transformers.util import mine_hard_negatives

    pairs = [(f"q{query}", f"d{row}") for query, own in enumerate(services.labels) for row in own]
    data = datasets.Dataset.from_dict(
        {"query": [one for one, _ in pairs], "answer": [two for _, two in pairs]}
    )
    mined = mine_hard_negatives(
        data, Encoder(services), corpus=[f"d{row}" for row in range(services.similar.shape[1])],
        cross_encoder=CrossEncoder(services, (lambda x: x) if logits else torch.sigmoid),
        num_negatives=services.negatives, output_format="triplet", verbose=False, **params,
    )  # fmt: skip
    found = {}
    for row in mined:
        found.setdefault(int(row["query"][1:]), []).append(int(row["negative"][1:]))
    return {query: list(dict.fromkeys(rows)) for query, rows in found.items()}


@pytest.mark.parametrize(
    ("params", "logits"),
    [
        ({"relative_margin": 0.05}, False),
        ({"absolute_margin": 3.0}, True),
        ({"absolute_margin": 1.5, "range_min": 2, "range_max": 24}, True),
        ({"max_score": 0.6, "min_score": 0.1, "range_max": 20}, False),
        ({"relative_margin": 0.1, "max_score": 0.9, "range_min": 1}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("positives", [1, 2])
def test_it_chooses_what_sentence_transformers_chooses(params, logits, positives):
    """Every positive is retrieved and all queries have equally many, so both look at the same candidates."""
    services = Ranked(np.random.default_rng(3), positives)
    queries = np.arange(6)
    told = {"range_max": 27, **params} if params else {}
    ours = chosen(services, queries, **{**OFF, **told, "scores": "logits" if logits else "probabilities"})
    wanted = theirs(services, logits, **told)
    for query, row in zip(queries.tolist(), ours.tolist(), strict=True):
        assert [one for one in row if one != NO_DOCUMENT] == wanted.get(query, [])
    assert (ours != NO_DOCUMENT).any()


def test_a_random_draw_is_among_what_the_rules_leave():
    services, queries = Ranked(np.random.default_rng(4)), np.zeros(4000, np.int64)
    rules = {**OFF, "absolute_margin": 0.5, "scores": "logits", "range_max": 25}
    services.negatives = 25
    able = {one for one in chosen(services, queries[:1], **rules)[0].tolist() if one != NO_DOCUMENT}
    assert len(able) > 3
    services.negatives = 1
    drawn = chosen(services, queries, **rules, sampling_strategy="random")[:, 0]
    found, counts = np.unique(drawn, return_counts=True)
    assert set(found.tolist()) == able
    share = 1 / len(able)
    assert (np.abs(counts / 4000 - share) < 5 * np.sqrt(share * (1 - share) / 4000)).all()


def test_without_a_rule_it_is_dense_topk_and_says_so(world):
    run, other = (
        world.run(name, params=given) for name, given in (("mine_hard_negatives", OFF), ("dense_topk", {}))
    )
    queries, positives = run.labels.batch(0, 0, 8)
    batch = Batch(0, queries, positives, None, None)
    np.testing.assert_array_equal(run.method.negatives(batch).ids, other.method.negatives(batch).ids)
    assert run.method.idle() == "it has no rule, so that it is dense_topk"
