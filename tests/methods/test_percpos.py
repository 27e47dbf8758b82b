"""NV-Retriever's three rules against worked numbers, and what is taken of the candidates that are left."""

import numpy as np
import pytest
import torch

from builders import unit
from negmark.methods.percpos import PercPos, below, ceilings
from negmark.methods.scale import rescaled
from negmark.methods.types import NO_DOCUMENT, Batch
from taught import IDS, POSITIVE, TAUGHT, Taught

SCORES = [0.79, 0.77, 0.76, 0.74, 0.70, 0.50]


def ceiling_of(positive, **params):
    return ceilings(np.array([positive]), PercPos.Params(**params))[0]


def kept(scores=SCORES, positive=POSITIVE, **params):
    ids = np.array([[round(100 * score) for score in scores]])
    found = below(ids, np.array([scores]), ceilings(np.array([positive]), PercPos.Params(**params)))
    assert found.shape == ids.shape
    return [each for each in found[0].tolist() if each != NO_DOCUMENT]


def test_percpos_keeps_what_is_strictly_below_95_percent():
    assert ceiling_of(POSITIVE) == pytest.approx(0.76)
    assert kept() == [74, 70, 50]


def test_marginpos_keeps_what_is_more_than_5_points_below():
    assert ceiling_of(POSITIVE, rule="marginpos") == pytest.approx(0.75)
    assert kept(rule="marginpos") == [74, 70, 50]


def test_a_fixed_ceiling_reads_no_positive():
    assert kept(rule="abs") == kept(rule="abs", positive=-1.0) == [50]


def test_sentence_transformers_keeps_a_candidate_that_meets_the_ceiling():
    """It removes scores above the ceiling, so 0.76 stays there: the paper's rule is stricter by equality only."""
    ceiling = ceiling_of(POSITIVE)
    theirs = [round(100 * score) for score in SCORES if not score > ceiling]
    assert theirs == [76, 74, 70, 50]
    assert kept() == theirs[1:]


def test_the_ceiling_of_a_negative_positive_lies_below_it():
    assert ceiling_of(-0.5) == pytest.approx(-0.525)
    assert ceiling_of(-0.5) < -0.5 < 0.95 * -0.5
    assert kept([-0.49, -0.51, -0.53], positive=-0.5) == [-53]


@pytest.mark.parametrize("rule", ["percpos", "marginpos"])
def test_a_candidate_as_good_as_the_positive_is_never_kept(rule):
    for positive in np.linspace(-1, 1, 41):
        if positive:
            assert kept([positive, positive + 0.01], positive=positive, rule=rule) == []


def test_defaults_are_the_papers():
    params = PercPos.Params()
    assert (params.rule, params.share, params.margin, params.ceiling) == ("percpos", 0.95, 0.05, 0.7)


def test_what_is_left_is_ranked_by_score_and_each_row_by_its_own_positive():
    ids, scores = np.array([[1, 2, 3, NO_DOCUMENT]] * 2), np.array([[0.1, 0.3, 0.2, -np.inf]] * 2)
    found = below(ids, scores, np.array([0.9, 0.25]))
    assert found.tolist() == [[2, 3, 1, NO_DOCUMENT], [3, 1, NO_DOCUMENT, NO_DOCUMENT]]


def choose(services, rows=1, **params):
    method = PercPos(PercPos.Params(**params), services)
    return method.negatives(Batch(0, np.arange(rows), np.full(rows, 150), None, None)).ids


def test_the_best_that_are_left_are_taken_and_missing_places_stay_empty():
    assert choose(Taught(IDS, TAUGHT, POSITIVE, 2)).tolist() == [[74, 70]]
    assert choose(Taught(IDS, TAUGHT, POSITIVE, 5)).tolist() == [[74, 70, 50, NO_DOCUMENT, NO_DOCUMENT]]


def test_the_teacher_decides_and_not_the_order_of_the_pool():
    teacher = [0.1, 0.9, 0.5, 0.79, 0.3, 0.2]
    assert choose(Taught(IDS, teacher, POSITIVE, 3)).tolist() == [[76, 70, 50]]


def test_depth_bounds_what_the_teacher_sees():
    services = Taught(IDS, TAUGHT, POSITIVE, 3)
    assert choose(services, depth=4).tolist() == [[74, NO_DOCUMENT, NO_DOCUMENT]]
    assert services.asked == [4]


def test_sample_draws_uniformly_from_the_best():
    rows = 20_000
    ids = choose(Taught(IDS, TAUGHT, 0.9, 1), rows, sample=4)
    found, counts = np.unique(ids, return_counts=True)
    assert found.tolist() == [74, 76, 77, 79]
    assert (np.abs(counts / rows - 0.25) < 5 * np.sqrt(0.25 * 0.75 / rows)).all()


def test_sample_never_fills_a_place_with_what_the_rule_dropped():
    ids = choose(Taught(IDS, TAUGHT, POSITIVE, 4), 100, sample=10)
    assert {tuple(sorted(row)) for row in ids.tolist()} == {(NO_DOCUMENT, 50, 70, 74)}


def test_without_a_teacher_the_scores_are_those_of_the_pool(world):
    run = world.run("percpos")
    queries, positives = run.labels.batch(0, 0, 8)
    ids = run.method.negatives(Batch(0, queries, positives, None, None)).ids
    pool = world.pools["dense"]
    candidates, scores = pool.candidates(queries)
    chance = run.services.chance(of_teacher=True)
    scores, own = (rescaled(each, chance) for each in (scores, pool.positive_scores(queries, positives)))
    limit = ceilings(own, PercPos.Params())
    np.testing.assert_array_equal(ids, below(candidates, scores, limit)[:, :4])
    assert (ids != NO_DOCUMENT).any()


def test_the_teachers_vectors_are_counted(world):
    run = world.run("percpos")
    queries, positives = run.labels.batch(0, 0, 8)
    run.method.negatives(Batch(0, queries, positives, None, None))
    assert run.services.counters.teacher_vectors == 8 * (20 + 2)


def test_unit_vectors_of_another_length_are_a_teacher_too(world):
    """The teacher's dimension has nothing to do with the encoder's."""
    run = world.run("percpos")
    rng = np.random.default_rng(0)
    run.services._teacher = tuple(unit(rng.normal(size=(rows, 5))) for rows in (60, 33))
    queries, positives = run.labels.batch(0, 0, 8)
    ids = run.method.negatives(Batch(0, queries, positives, None, None)).ids
    documents, asked = run.services._teacher
    chance = run.services.chance(of_teacher=True)
    scores = rescaled(np.einsum("be,bke->bk", asked[queries], documents[ids]), chance)
    own = rescaled((asked[queries] * documents[positives]).sum(axis=1), chance)
    limit = np.broadcast_to((own - 0.05 * np.abs(own))[:, None], ids.shape)
    real = ids != NO_DOCUMENT
    assert real.any()
    assert (scores[real] < limit[real]).all()


def test_an_encoder_of_a_narrow_range_keeps_the_same_candidates():
    """Cosines squeezed into .7 to 1.0, with random pairs at .7: the raw rule would keep another set."""
    squeezed = [0.7 + 0.3 * score for score in TAUGHT]
    found = choose(Taught(IDS, squeezed, 0.7 + 0.3 * POSITIVE, 3, zero=0.7))
    assert found.tolist() == choose(Taught(IDS, TAUGHT, POSITIVE, 3)).tolist() == [[74, 70, 50]]
    assert choose(Taught(IDS, squeezed, 0.7 + 0.3 * POSITIVE, 3)).tolist() != found.tolist()


def test_a_ceiling_that_tells_no_candidates_apart_is_told():
    for positive, words in ((2.0, "its threshold rejected none of 6 candidates"),
                            (0.1, "its threshold rejected all of 6 candidates"), (POSITIVE, "")):  # fmt: skip
        services = Taught(IDS, TAUGHT, positive, 2)
        method = PercPos(PercPos.Params(), services)
        method.services.teacher_documents = lambda documents, table=services.table: torch.stack(
            [torch.from_numpy(table[np.maximum(documents, 0)]).float(), torch.zeros(documents.shape)], dim=-1
        )
        method.negatives(Batch(0, np.arange(1), np.full(1, 150), None, None))
        assert method.idle() == words
        other = PercPos(PercPos.Params(), services)
        other.load_state_dict(method.state_dict())
        assert other.idle() == words
