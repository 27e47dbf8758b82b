"""The audit of a ledger, against values counted by hand."""

import numpy as np
import pandas as pd
import pytest

from negmark.evaluate.audit import audit
from negmark.store.collection import Qrels
from negmark.store.graph import relation_of
from negmark.store.ledger import VECTOR

# documents 0 and 5 have one text; query 1 is labelled with documents 0 and 2, query 2 with 3
CODES = np.array([0, 1, 2, 3, 4, 0])
LABELS = Qrels(np.array([1, 1, 2, 2]), np.array([0, 2, 3, 4]), np.array([1, 1, 2, 0]))


def ledger(*rows: tuple[int, int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["step", "query", "document", "score"])


def whole(table: pd.DataFrame) -> pd.Series:
    return table[table["window"] == -1].iloc[0]


def test_labelled_positives_are_counted() -> None:
    row = whole(
        audit(ledger((0, 1, 0, 0.9), (0, 1, 1, 0.1), (0, 2, 3, 0.2), (0, 2, 4, 0.2)), LABELS, CODES, 10)
    )
    assert row["labelled_positive_rate"] == 0.5  # (1, 0) and (2, 3); grade 0 is no positive
    assert row["negatives"] == 4


def test_texts_equal_to_a_positive_are_counted_apart_from_labels() -> None:
    row = whole(
        audit(ledger((0, 1, 5, 0.9), (0, 1, 0, 0.9), (0, 2, 5, 0.1), (0, 2, 1, 0.0)), LABELS, CODES, 10)
    )
    assert row["text_duplicate_rate"] == 0.25  # document 5 for query 1 alone
    assert row["labelled_positive_rate"] == 0.25


def test_relatives_of_a_positive_are_counted_where_documents_are_related() -> None:
    graph = {
        "ancestor": relation_of([(0, 1), (3, 1), (2, 0)], 6),  # 1 is above 0 and 3, 0 above 2
        "sibling": relation_of([(0, 3), (3, 0)], 6),
    }
    rows = ledger(
        (0, 1, 1, 0.9),  # above a positive of 1
        (0, 1, 3, 0.5),  # beside one
        (0, 1, 0, 0.5),  # above one, but a positive itself
        (5, 2, 0, 0.1),  # beside the positive of 2
        (5, 2, 5, 0.1),
        (5, 2, VECTOR, 0.1),
    )
    table = audit(rows, LABELS, CODES, 10, graph=graph)
    assert (whole(table)["ancestor_rate"], whole(table)["sibling_rate"]) == (1 / 5, 2 / 5)
    assert table.set_index("window")["sibling_rate"].to_dict() == {-1: 2 / 5, 0: 1 / 3, 5: 1 / 2}
    assert not {"ancestor_rate", "sibling_rate"} & set(audit(rows, LABELS, CODES, 10).columns)


HIDDEN = Qrels(np.array([1, 2]), np.array([1, 1]), np.array([1, 1]))


def weighted(*rows: tuple[int, int, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["step", "query", "document", "score", "weight"])


def test_false_negatives_are_relevant_by_hidden_labels_or_by_those_of_training() -> None:
    rows = weighted(
        (0, 1, 1, 0.9, 1), (0, 1, 3, 0.1, 1), (5, 2, 3, 0.2, 1), (5, 2, 1, 0.2, 1), (5, 2, 2, 0.2, 1)
    )
    table = audit(rows, LABELS, CODES, 10, HIDDEN)
    assert whole(table)["false_negative_rate"] == pytest.approx(3 / 5)  # (1, 1), (2, 3) and (2, 1)
    assert whole(table)["labelled_positive_rate"] == pytest.approx(1 / 5)  # (2, 3), as a poisoned run has
    by_window = table.set_index("window")["false_negative_rate"]
    assert (by_window[0], by_window[5]) == (pytest.approx(1 / 2), pytest.approx(2 / 3))


def test_false_negatives_by_weight() -> None:
    rows = weighted((0, 1, 1, 0.9, 0.5), (0, 1, 3, 0.1, 1.5), (0, 2, VECTOR, 0.2, 8), (0, 2, 2, 0.2, 2))
    row = whole(audit(rows, LABELS, CODES, 10, HIDDEN))
    assert row["false_negative_rate"] == pytest.approx(1 / 3)
    assert row["false_negative_weight"] == pytest.approx(0.5 / 4)


def test_false_negatives_are_unknown_where_no_label_is_hidden() -> None:
    row = whole(audit(weighted((0, 1, 0, 0.9, 1)), LABELS, CODES, 10))
    assert np.isnan(row["false_negative_rate"])
    assert np.isnan(row["false_negative_weight"])


def test_hardness_is_the_quantiles_of_the_similarity_per_window() -> None:
    rows = [(step, 1, 1, step / 10) for step in range(10)]
    table = audit(ledger(*rows), LABELS, CODES, 10)
    assert whole(table)["score_q50"] == pytest.approx(0.45)
    assert list(table["window"]) == [-1, *range(10)]
    assert table[table["window"] == 7]["score_q10"].item() == pytest.approx(0.7)


def test_turnover_compares_a_query_with_its_previous_visit() -> None:
    rows = [
        (0, 1, 1, 0.1),
        (0, 1, 3, 0.1),
        (0, 2, 1, 0.1),
        (4, 1, 3, 0.1),
        (4, 1, 4, 0.1),
        (9, 1, 1, 0.1),
        (9, 1, 5, 0.1),
    ]
    table = audit(ledger(*rows), LABELS, CODES, 10)
    # step 4: document 3 is old, 4 new; step 9: 1 and 5 are new against step 4; query 2 is visited once
    assert whole(table)["turnover"] == pytest.approx(3 / 4)
    assert np.isnan(table[table["window"] == 0]["turnover"].item())
    assert table[table["window"] == 4]["turnover"].item() == 0.5


def test_texts_beside_the_corpus_are_no_documents_but_turn_over() -> None:
    """Their numbers are below 0; times the width of the corpus (-5 of query 2) they would be another query's label."""
    row = whole(
        audit(ledger((0, 1, -3, 0.5), (3, 1, -3, 0.5), (3, 1, -4, 0.4), (3, 1, 0, 0.7)), LABELS, CODES, 10)
    )
    assert row["negatives"] == 4
    assert row["labelled_positive_rate"] == 1.0
    assert row["turnover"] == pytest.approx(2 / 3)
    table = audit(weighted((0, 2, -5, 0.5, 1), (0, 2, 2, 0.5, 1)), LABELS, CODES, 10, HIDDEN)
    assert whole(table)["false_negative_rate"] == 0
    assert whole(table)["text_duplicate_rate"] == 0


def test_vectors_count_only_as_negatives() -> None:
    row = whole(audit(ledger((0, 1, VECTOR, 0.5), (0, 1, 0, 0.7), (3, 1, VECTOR, 0.5)), LABELS, CODES, 10))
    assert row["negatives"] == 3
    assert row["labelled_positive_rate"] == 1.0
    assert np.isnan(row["turnover"])
