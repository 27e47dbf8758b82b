"""Given negatives: every form gives the same pool, and what is no document, or no negative, is told."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from builders import Bench
from negmark.core.errors import UserError
from negmark.data import given
from negmark.share import negatives
from negmark.share.trainer_files import WRITERS
from negmark.store.pool import CandidatePool


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def pool_of(bench: Bench, file: Path) -> dict[str, np.ndarray]:
    given.main(file, bench.dataset, file.with_suffix(".safetensors"), file.with_suffix(".parquet"))
    return load_file(file.with_suffix(".safetensors"))


def written(folder: Path, *rows: dict | str) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def candidates(pool: dict[str, np.ndarray], query: int) -> list[int]:
    row = pool["ids"][pool["queries"].tolist().index(query)].tolist()
    return [document for document in row if document >= 0]


def test_what_is_handed_out_comes_back_in_every_form(bench, tmp_path):
    run = bench.train(tmp_path / "run", bench.spec("simans", steps=20))
    ledger = pd.read_parquet(run / "negatives.parquet")
    chosen, _ = negatives.chosen_rows(ledger, 4)
    for name in WRITERS:
        file = tmp_path / name
        negatives.main(run, bench.dataset, file, tmp_path / "about.json")
        pool = pool_of(bench, file)
        for query, part in chosen.groupby("query"):
            found = candidates(pool, query)
            assert set(found) == set(part["document"]), name
            if name in ("tevatron.jsonl", "bge.jsonl", "dpr.jsonl", "run.trec"):
                assert found == part.sort_values("score", ascending=False, kind="stable")["document"].tolist()
            else:
                assert found == part["document"].tolist()


def test_a_run_trains_on_the_first_of_the_list_and_says_what_stayed_empty(bench, tmp_path):
    rows = [
        {"query": f"query q{row}", "pos": [], "neg": [f"document d{row + 20}", f"Document  d{row + 10}"][: 1 + row % 2]}
        for row in range(30)
    ]  # fmt: skip
    file = written(tmp_path, *rows)
    pool_of(bench, file)
    bench.pool, before = file.with_suffix(".safetensors"), bench.pool
    try:
        from negmark.train.train import main

        spec = bench.spec("given", negatives=2, steps=8)
        model = tmp_path / "given" / "seed-0" / "model.safetensors"
        main(
            [model],
            json.dumps(spec),
            bench.dataset,
            bench.vectors,
            tmp_path / "state",
            [f"given={bench.pool}"],
        )
    finally:
        bench.pool = before
    ledger = pd.read_parquet(model.parent / "negatives.parquet")
    for query, part in ledger.groupby("query"):
        assert query < 30
        assert set(part["document"]) == ({query + 20, query + 10} if query % 2 else {query + 20})
    filled = json.loads((model.parent / "manifest.json").read_text())["filled"]
    assert filled["queries_without"] == pytest.approx(0.5, abs=0.05)
    assert filled["places_empty"] == pytest.approx(0.625, abs=0.05)


def test_positives_and_repeats_are_no_candidates(bench, tmp_path):
    file = written(
        tmp_path,
        {"anchor": "query q1", "positive": "document d1", "negative": "document d1"},
        {"anchor": "query q1", "positive": "document d1", "negative": "document d40"},
        {"anchor": "query q1", "positive": "document d1", "negative": "document d40"},
        "",
        {
            "anchor": "QUERY q2",
            "positive": "document d2",
            "negative_1": "document d50",
            "negative_2": "document d51",
        },
        {"anchor": "nobody asks this", "positive": "x", "negative": "not a document either"},
    )
    pool = pool_of(bench, file)
    assert candidates(pool, 1) == [40]
    assert candidates(pool, 2) == [50, 51]
    assert len(pd.read_parquet(file.with_suffix(".parquet"))) == 5
    assert given.matched(file, bench.dataset).foreign == 1
    stored = CandidatePool(file.with_suffix(".safetensors"))
    assert stored.candidates(np.array([3]))[0].tolist() == [[-1, -1]]


def test_ids_decide_where_there_is_no_text_and_between_equal_texts(bench, tmp_path):
    pool = pool_of(
        bench,
        written(
            tmp_path,
            {"query_id": "q1", "query_text": "Query  Q1", "positive_document_ids": ["d1"],
             "negative_document_ids": ["d7"]},
            {"query_id": "q2", "query": "query q2", "positive_passages": [],
             "negative_passages": [{"docid": "d3", "title": "", "text": "document d9"}]},
        ),
    )  # fmt: skip
    assert candidates(pool, 1) == [7]
    assert candidates(pool, 2) == [9], "the text says which document it is, not an id of another numbering"


def test_a_querys_text_decides_where_it_is_not_that_of_the_id(bench, tmp_path):
    """The second line has the text of a test query, whose id is no training query's."""
    tested = f"query q{bench.train_queries}"
    found = pool_of(
        bench,
        written(
            tmp_path,
            {"query_id": "q1", "query": "QUERY q2", "negative_passages": [{"text": "document d40"}]},
            {"query_id": "q3", "query": tested, "negative_passages": [{"text": "document d41"}]},
        ),
    )
    assert [candidates(found, query) for query in (1, 2, 3)] == [[], [40], []]


def test_an_id_as_it_is_written_comes_before_one_as_a_run_has_it():
    assert given._rows_by_id(["a%20b", "a b", "c d"], [0, 1, 2]) == {
        "a%20b": 0,
        "a b": 1,
        "c d": 2,
        "c%20d": 2,
    }


def test_objects_may_stand_in_one_array(bench, tmp_path):
    """As DPR's own files are: biencoder-nq-train.json."""
    rows = [
        {"question": f"query q{n}", "answers": [], "positive_ctxs": [], "negative_ctxs": [],
         "hard_negative_ctxs": [{"title": "", "text": f"document d{n + 30}", "score": "1.5"}]}
        for n in (1, 2)
    ]  # fmt: skip
    file = tmp_path / "biencoder.json"
    file.write_text(json.dumps(rows, indent=4))
    pool = pool_of(bench, file)
    assert [candidates(pool, query) for query in (1, 2)] == [[31], [32]]
    file.write_text(json.dumps([*rows, {"question": 3}], indent=4))
    with pytest.raises(UserError, match="object 3: expected a JSON object of Tevatron"):
        given.matched(file, bench.dataset)
    file.write_text(json.dumps(rows, indent=4)[:-1])
    with pytest.raises(UserError, match="not a whole JSON array"):
        given.matched(file, bench.dataset)


def test_gzipped_runs_are_ranked_by_score(bench, tmp_path):
    file = tmp_path / "run.trec.gz"
    file.write_bytes(gzip.compress(b"q1 Q0 d40 1 0.5 x\nq1 Q0 d41 2 0.9 x\n"))
    assert candidates(pool_of(bench, file), 1) == [41, 40]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"query": "query q1", "neg": ["document d40", "gone"]}, "a negative that is no document of dataset: 'gone'"),
        ({"query_id": "q1", "negative_document_ids": ["z"]}, "a negative that is no document of dataset: the id 'z'"),
        ({"query": "query q1", "neg": "document d40"}, "expected a JSON object of Tevatron"),
        ({"query": 1, "neg": ["document d40"]}, "expected a JSON object of Tevatron"),
        ({"query": "query q1", "neg": ["a", "b"], "neg_scores": [1]}, "expected a JSON object of Tevatron"),
        ({"query": "query q1", "pos": ["document d1"]}, "expected a JSON object of Tevatron"),
        ({"query": "query q1", "neg": ["document d40"], "neg_scores": ["high"]}, "expected a number as the score of a "
         "negative, found 'high'"),
        ({"query": "query q1", "negative_passages": [{"text": "document d40", "score": float("nan")}]},
         "expected a number as the score of a negative, found 'nan'"),
        ({"query_id": "q1", "query": "x", "negative_passages": [{"text": "document d40"}]},
         "the query 'q1' is 'query q1' here, and no query is 'x'"),
        ({"query_id": "q1", "query_text": "x", "negative_document_ids": ["d40"]},
         "the query 'q1' is 'query q1' here, and no query is 'x'"),
        ('{"query": ', "expected a JSON object of Tevatron"),
        ("q1 Q0 d40 1 high x", "expected a JSON object of Tevatron"),
        ("q1 d40", "expected a JSON object of Tevatron"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_told_with_its_file_and_number(bench, tmp_path, row, told):
    file = written(tmp_path, {"query": "query q0", "neg": ["document d30"]}, row)
    with pytest.raises(UserError) as error:
        given.matched(file, bench.dataset)
    assert str(error.value).startswith(f"{file}: line 2: {told}")
    assert "\n" not in str(error.value)


def test_a_score_that_one_query_lacks_changes_no_other_querys_order(bench, tmp_path):
    """Query 1 is ranked by its scores; query 2, of which one is missing, has the file's order."""
    file = written(
        tmp_path,
        {"query": "query q1", "neg": ["document d40", "document d41"], "neg_scores": [1, 5]},
        {"query": "query q2", "neg": ["document d50", "document d51"], "neg_scores": [1, 5]},
        {"query": "query q2", "neg": ["document d52"]},
    )
    pool = pool_of(bench, file)
    assert candidates(pool, 1) == [41, 40]
    assert candidates(pool, 2) == [50, 51, 52]
    scores = pool["scores"][np.isin(pool["queries"], [1, 2])][:, :3]
    assert scores.tolist() == [[5, 1, -np.inf], [0, -1, -2]]


def test_a_file_without_any_negative_is_refused(bench, tmp_path):
    file = written(tmp_path, {"query": "query q1", "neg": []})
    with pytest.raises(UserError, match="its 1 lines of training queries have no negative"):
        given.matched(file, bench.dataset)


def test_a_file_of_another_dataset_is_refused(bench, tmp_path):
    file = written(tmp_path, {"query": "nobody", "neg": ["document d30"]})
    with pytest.raises(UserError, match="none of its 1 lines has a training query"):
        given.matched(file, bench.dataset)
