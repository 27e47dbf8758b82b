"""Metrics equal pytrec_eval's and BEIR's, and avoid their pitfalls."""

import math

import numpy as np
import pytest
import pytrec_eval
from beir.retrieval.evaluation import EvaluateRetrieval

from negmark.core.metrics import DEFAULT
from negmark.evaluate.metrics import Evaluator, ranked


def evaluate_run(qrels, run, relevant=1, names=DEFAULT):
    return Evaluator(qrels, names, relevant).values(run)


def random_case(seed, queries=30, documents=60):
    """Graded labels and runs full of ties; some queries retrieve little, some labels are 0."""
    rng = np.random.default_rng(seed)
    names = [f"d{row}" for row in range(documents)]
    qrels, run = {}, {}
    for query in range(queries):
        labelled = rng.choice(names, size=rng.integers(1, 9), replace=False)
        grades = rng.integers(0, 4, size=len(labelled))
        qrels[f"q{query}"] = dict(zip(labelled.tolist(), grades.tolist(), strict=True))
        retrieved = rng.choice(names, size=rng.integers(1, documents + 1), replace=False)
        scores = rng.integers(0, 6, size=len(retrieved)) / 4
        run[f"q{query}"] = dict(zip(retrieved.tolist(), scores.tolist(), strict=True))
    return qrels, run


def reciprocal_rank(labels, scores):
    """Of the first relevant document of the top ten, with ties ordered by id descending."""
    order = sorted(sorted(scores, reverse=True), key=lambda name: -scores[name])
    places = [place for place, name in enumerate(order[:10], start=1) if labels.get(name, 0) > 0]
    return 1 / places[0] if places else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_pytrec_eval(seed):
    qrels, run = random_case(seed)
    actual = evaluate_run(qrels, run)
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100"}).evaluate(run)
    assert set(actual) == set(qrels)
    for query, values in expected.items():
        assert actual[query]["nDCG@10"] == values["ndcg_cut_10"]
        assert actual[query]["R@100"] == values["recall_100"]


@pytest.mark.parametrize("seed", range(5))
def test_reciprocal_rank_equals_brute_force(seed):
    qrels, run = random_case(seed)
    actual = evaluate_run(qrels, run)
    assert {query: values["RR@10"] for query, values in actual.items()} == pytest.approx(
        {query: reciprocal_rank(labels, run[query]) for query, labels in qrels.items()}
    )


MEASURES = {
    "nDCG@5": "ndcg_cut_5", "nDCG": "ndcg", "P@5": "P_5", "R@10": "recall_10", "AP": "map", "AP@10": "map_cut_10",
    "RR": "recip_rank", "Success@5": "success_5", "Rprec": "Rprec", "Bpref": "bpref",
    "IPrec@0.1": "iprec_at_recall_0.10", "SetF": "set_F", "infAP": "infAP",
}  # fmt: skip
"""Metrics and trec_eval's names of them."""


@pytest.mark.parametrize("relevant", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_any_measure_is_pytrec_evals(seed, relevant):
    qrels, run = random_case(seed)
    actual = evaluate_run(qrels, run, relevant, list(MEASURES))
    measures = pytrec_eval.supported_measures
    expected = pytrec_eval.RelevanceEvaluator(qrels, measures, relevance_level=relevant).evaluate(run)
    for query, values in expected.items():
        assert list(actual[query]) == list(MEASURES)
        for name, trec in MEASURES.items():
            assert actual[query][name] == pytest.approx(values[trec], abs=1e-12), name


@pytest.mark.parametrize("cut", [1, 3, 10])
def test_a_cut_reciprocal_rank_is_that_of_the_cut_run(cut):
    """The MS MARCO script breaks ties in the opposite order, so the scores have none."""
    qrels, run = random_case(7)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}, relevance_level=2)
    expected = evaluator.evaluate({query: _head(scores, cut) for query, scores in run.items()})
    actual = evaluate_run(qrels, run, 2, [f"RR@{cut}"])
    assert {query: values[f"RR@{cut}"] for query, values in actual.items()} == {
        query: values["recip_rank"] for query, values in expected.items()
    }


def _head(scores, cut):
    return {name: scores[name] for name in ranked(scores)[:cut]}


def test_a_metric_does_not_depend_on_the_others():
    qrels, run = random_case(5)
    names = [
        "nDCG(gains={1:9})@10",
        "nDCG@10",
        "P(rel=2)@5",
        "P@5",
        "Judged@10",
        "AP(judged_only=True)",
        "Compat",
    ]
    together = evaluate_run(qrels, run, 1, names)
    assert list(evaluate_run(qrels, run, 1, names[::-1])["q0"]) == names[::-1]
    for name in names:
        alone = evaluate_run(qrels, run, 1, [name])
        assert all(alone[query][name] == together[query][name] for query in qrels)
    assert any(values["nDCG(gains={1:9})@10"] != values["nDCG@10"] for values in together.values())
    assert evaluate_run(qrels, run, 2, ["P@5"])["q0"]["P@5"] == together["q0"]["P(rel=2)@5"]


def test_an_evaluator_is_used_for_many_runs():
    qrels, first = random_case(1)
    _, second = random_case(2)
    evaluator = Evaluator(qrels)
    for run in (first, second, {}, first):
        assert evaluator.values(run) == evaluate_run(qrels, run)


def test_means_equal_those_of_beir():
    qrels, run = random_case(11)
    actual = evaluate_run(qrels, run)
    copies = {query: dict(scores) for query, scores in run.items()}
    ndcg, _, recall, _ = EvaluateRetrieval.evaluate(qrels, copies, [10, 100])
    assert np.mean([values["nDCG@10"] for values in actual.values()]) == pytest.approx(
        ndcg["NDCG@10"], abs=5.1e-6
    )
    assert np.mean([values["R@100"] for values in actual.values()]) == pytest.approx(
        recall["Recall@100"], abs=5.1e-6
    )


def test_values_by_hand():
    qrels = {"q": {"a": 2, "b": 1, "c": 1}}
    run = {"q": {"x": 9.0, "b": 8.0, "a": 7.0, "y": 6.0}}
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    actual = evaluate_run(qrels, run)["q"]
    assert set(actual) == set(DEFAULT)
    assert actual["nDCG@10"] == pytest.approx(
        (1 / math.log2(3) + 2 / math.log2(4)) / ideal
    )  # gain linear in the label
    assert actual["RR@10"] == 0.5
    assert actual["R@100"] == pytest.approx(2 / 3)


def test_first_relevant_at_rank_eleven_counts_nothing():
    run = {"q": {f"x{place:02}": 100.0 - place for place in range(10)} | {"a": 1.0}}
    assert evaluate_run({"q": {"a": 1}}, run)["q"]["RR@10"] == 0
    del run["q"]["x00"]
    assert evaluate_run({"q": {"a": 1}}, run)["q"]["RR@10"] == pytest.approx(0.1)


def test_recall_is_cut_at_a_hundred():
    run = {"q": {f"x{place:03}": 1000.0 - place for place in range(100)} | {"a": 1.0}}
    assert evaluate_run({"q": {"a": 1}}, run)["q"]["R@100"] == 0


def test_tie_at_the_cut_is_broken_by_id_descending():
    qrels = {"q": {"b": 1}}
    ties = {f"c{place}": 1.0 for place in range(9)}
    assert evaluate_run(qrels, {"q": {**ties, "b": 1.0}})["q"]["RR@10"] == pytest.approx(0.1)  # b is tenth
    assert evaluate_run(qrels, {"q": {**ties, "c9": 1.0, "b": 1.0}})["q"]["RR@10"] == 0  # and now eleventh


def test_query_that_the_run_lacks_counts_as_zero():
    actual = evaluate_run(
        {"q": {"a": 1}, "missing": {"a": 1}, "empty": {"a": 1}}, {"q": {"a": 1.0}, "empty": {}}
    )
    assert list(actual) == ["q", "missing", "empty"]
    assert actual["q"] == {"nDCG@10": 1.0, "R@100": 1.0, "RR@10": 1.0}
    assert actual["missing"] == actual["empty"] == {"nDCG@10": 0.0, "R@100": 0.0, "RR@10": 0.0}


def test_query_without_labels_is_left_out():
    assert set(evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.0}, "other": {"a": 1.0}})) == {"q"}


def test_query_with_no_relevant_document_is_zero():
    assert set(evaluate_run({"q": {"a": 0}}, {"q": {"a": 1.0}})["q"].values()) == {0.0}


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_is_refused(score):
    with pytest.raises(ValueError, match="query q: a score is not a finite number"):
        evaluate_run({"q": {"a": 1}}, {"q": {"b": 1.0, "a": score}})


def test_scores_that_are_equal_in_float32_are_ties():
    near = {"a": 1.0 + 1e-9, "b": 1.0}
    assert ranked(near) == ["b", "a"]
    assert ranked({"a": 1.0 + 1e-6, "b": 1.0}) == ["a", "b"]
    actual = evaluate_run({"q": {"a": 1}}, {"q": near})["q"]
    assert actual["RR@10"] == 0.5  # as pytrec_eval ranks it
    assert actual["nDCG@10"] == pytest.approx(1 / math.log2(3))


def test_arguments_are_left_as_they_were():
    qrels, run = random_case(3)
    before = {query: dict(scores) for query, scores in run.items()}
    evaluate_run(qrels, run)
    assert run == before


@pytest.mark.parametrize("relevant", [1, 2, 3])
def test_relevant_grade_changes_only_the_binary_metrics(relevant):
    """By hand: recall and reciprocal rank count labels of at least the grade; nDCG uses every grade as its gain."""
    qrels, run = random_case(3)
    graded, actual = evaluate_run(qrels, run), evaluate_run(qrels, run, relevant)
    for query, labels in qrels.items():
        assert actual[query]["nDCG@10"] == graded[query]["nDCG@10"]
        binary = {name: int(grade >= relevant) for name, grade in labels.items()}
        assert actual[query]["RR@10"] == pytest.approx(reciprocal_rank(binary, run[query]))
        order = ranked(run[query])[:100]
        relevant_documents = sum(binary.values())
        hits = sum(binary.get(name, 0) for name in order)
        assert actual[query]["R@100"] == pytest.approx(
            hits / relevant_documents if relevant_documents else 0.0
        )
    assert relevant == 1 or actual != graded
