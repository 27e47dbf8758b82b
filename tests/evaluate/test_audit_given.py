"""The audit of given negatives counts what a run would leave out, too, and reads hardness from the start."""

import numpy as np
import pandas as pd
import pytest

from builders import Bench
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.evaluate import audit_given


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def test_positives_repeats_and_hardness_are_those_of_the_file(bench, tmp_path):
    pairs = [(1, 1), (1, 40), (1, 40), (2, 50), (3, 51)]
    table = pd.DataFrame(pairs, columns=["query", "document"])
    table.to_parquet(tmp_path / "given.parquet")
    output = tmp_path / "given.csv"
    audit_given.main(output, [f"made={tmp_path / 'given.parquet'}={bench.dataset}={bench.vectors}"])
    (row,) = pd.read_csv(output).to_dict("records")
    assert row["dataset"] == "made"
    assert (row["queries"], row["queries_given"], row["negatives"]) == (60, 3, 5)
    assert row["repeated_rate"] == pytest.approx(0.2)
    assert row["labelled_positive_rate"] == pytest.approx(0.2)
    assert row["text_duplicate_rate"] == 0
    assert np.isnan(row["false_negative_rate"])
    cosines = [float(bench.query_vectors[q] @ bench.document_vectors[d]) for q, d in pairs]
    assert row["score_q50"] == pytest.approx(np.median(cosines), abs=1e-5)
    assert not {"window", "turnover", "backfilled"} & row.keys()


def test_a_suite_without_any_is_told(tmp_path):
    with pytest.raises(UserError, match="datasets: none has given negatives"):
        audit_given.main(tmp_path / "given.csv")


def test_hidden_answers_among_them_are_false_negatives(bench, tmp_path):
    rows = bench.collection.qrels
    hidden = np.array([[1, 40, 1]])
    prepare.write(
        prepare.Collection(**{**vars(bench.collection), "qrels": {**rows, "hidden": hidden}}),
        tmp_path / "dataset",
    )
    table = pd.DataFrame([(1, 40), (1, 41)], columns=["query", "document"])
    found = audit_given.audit_given(table, tmp_path / "dataset", bench.vectors)
    assert found["false_negative_rate"].tolist() == [0.5]
