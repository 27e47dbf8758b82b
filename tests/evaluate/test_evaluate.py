"""Evaluation ranks, drops a query's own text, and writes files from which pytrec_eval gets the same metrics."""

import gzip
import json

import numpy as np
import pytest
import pytrec_eval
from safetensors.numpy import save_file

from builders import Bench, collection_of, unit
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.evaluate import evaluate
from negmark.evaluate.metrics import Evaluator
from negmark.evaluate.ranking import TestSplit, clusters, means, measure, rank
from negmark.search.index import DenseSearcher
from negmark.store import collection

ABOUT = {
    "suite": "s",
    "dataset": "made",
    "row": "simans",
    "title": "SimANS",
    "track": "baseline",
    "tier": "adapter",
    "params": {"k1": 1.2, "b": 0.75},
    "metrics": ["nDCG@10", "RR@10", "R@100"],
}


def queries_of(folder, queries):
    """Return the test split with only some of its queries."""
    split = TestSplit(folder)
    places = [split.queries.tolist().index(query) for query in queries]
    split.queries, split.own = split.queries[places], split.own[places]
    split.names = [split.names[place] for place in places]
    return split


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def own_text(tmp_path_factory):
    """130 documents; query d7 is document d7, its own nearest."""
    folder = tmp_path_factory.mktemp("own")
    made = collection_of(
        [f"d{row}" for row in range(130)], ["d7", "t", "other"],
        {"train": [(1, 0, 1)], "test": [(0, 8, 1), (0, 9, 2), (2, 0, 1), (2, 7, 0)]},
    )  # fmt: skip
    prepare.write(made, folder)
    rng = np.random.default_rng(2)
    documents = unit(rng.normal(size=(130, 6)))
    return folder, documents, np.stack([documents[7], documents[0], *unit(documents[1:2] + documents[7:8])])


def test_own_text_is_dropped_and_a_hundred_are_left(own_text):
    folder, documents, queries = own_text
    run = rank(DenseSearcher(documents, queries, 1), queries_of(folder, [0, 2]))
    assert list(run) == ["d7", "other"]
    assert "d7" not in run["d7"]
    assert "d7" in run["other"]
    for name, query in (("d7", queries[0]), ("other", queries[2])):
        order = [f"d{row}" for row in np.argsort(-(documents.astype(np.float64) @ query))]
        assert list(run[name]) == [document for document in order if document != name][:100]


def test_queries_that_share_a_positive_are_one_cluster():
    """Document 5 answers queries 1, 2 and 4, document 6 queries 3 and 4, 7 none: 9 is below the relevant grade."""
    pairs = [
        (1, 5, 2),
        (2, 5, 2),
        (2, 8, 2),
        (3, 6, 2),
        (4, 6, 2),
        (4, 5, 2),
        (7, 9, 1),
        (8, 9, 1),
        (9, 6, 2),
    ]
    labels = collection.Qrels(*np.array(pairs).T, relevant=2)
    found = clusters(labels, np.array([1, 2, 3, 4, 7, 8]))
    groups = [np.flatnonzero(found == number).tolist() for number in np.unique(found)]
    assert sorted(groups) == [[0, 1, 3], [2], [4], [5]], "query 9 isn't asked"
    both = collection.Qrels(*np.array([(1, 5, 1), (1, 6, 1), (2, 6, 1), (2, 5, 1), (3, 7, 1)]).T)
    assert clusters(both, np.array([1, 2, 3])).tolist() == [0, 0, 1]


def test_short_lists_stay_short(own_text):
    folder = own_text[0]

    class Few:
        documents = 130

        def search(self, queries, depth):
            assert depth == 101
            ids = np.full((len(queries), depth), -1)
            scores = np.full((len(queries), depth), -np.inf, np.float32)
            ids[:, :3], scores[:, :3] = [7, 20, 3], [3.0, 1.0, 1.0]
            return ids, scores

    assert rank(Few(), queries_of(folder, [0])) == {"d7": {"d3": 1.0, "d20": 1.0}}
    assert list(rank(Few(), queries_of(folder, [0]))["d7"]) == ["d3", "d20"]  # ties by id descending


def measured(split, run):
    return measure(split, run, Evaluator(split.qrels, relevant=split.relevant))


def test_means_by_hand():
    rows = {
        "query": ["a", "b", "c", "d"],
        "slice": ["seen", "unseen", "seen", "seen"],
        "nDCG@10": [1.0, 0.5, 0.0, 0.5],
        "RR@10": [1.0, 0.25, 0.0, 0.0],
        "R@100": [1.0, 1.0, 1.0, 0.0],
    }
    assert means(rows) == {
        "all": {"queries": 4, "nDCG@10": 0.5, "RR@10": 0.3125, "R@100": 0.75},
        "seen": {"queries": 3, "nDCG@10": 0.5, "RR@10": pytest.approx(1 / 3), "R@100": pytest.approx(2 / 3)},
        "unseen": {"queries": 1, "nDCG@10": 0.5, "RR@10": 0.25, "R@100": 1.0},
    }
    assert set(means({name: values[1:2] for name, values in rows.items()})) == {"all", "unseen"}


def test_measure_takes_every_query_of_the_split_in_the_datasets_order(own_text):
    folder, _, _ = own_text
    rows = measured(TestSplit(folder), {"other": {"d7": 2.0, "d0": 1.0}})
    assert rows["query"] == ["d7", "other"]
    assert rows["slice"] == ["unseen", "seen"]
    assert rows["RR@10"] == [0.0, 0.5]
    assert rows["R@100"] == [0.0, 1.0]
    assert measured(TestSplit(folder, "train"), {"t": {"d0": 1.0}})["RR@10"] == [1.0]


def read_run(path):
    run = {}
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        query, q0, document, place, score, tag = line.split(" ")
        assert (q0, tag) == ("Q0", "simans")
        run.setdefault(query, {})[document] = float(score)
        assert int(place) == len(run[query])
    return run


def test_pytrec_eval_reads_the_same_numbers_from_the_files(bench, tmp_path):
    evaluate.main([tmp_path / "metrics.json"], json.dumps(ABOUT), bench.dataset, bench.vectors)
    run = read_run(tmp_path / "run.trec.gz")
    qrels = {}
    for query, document, grade in bench.collection.qrels["test"]:
        qrels.setdefault(f"q{query}", {})[f"d{document}"] = int(grade)
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100"}).evaluate(run)
    rows = measured(TestSplit(bench.dataset), run)
    table = collection._table(tmp_path / "per_query.parquet", None).to_pylist()
    assert [row["query"] for row in table] == sorted(qrels, key=lambda name: int(name[1:]))
    for row in table:
        assert row["nDCG@10"] == expected[row["query"]]["ndcg_cut_10"]
        assert row["R@100"] == expected[row["query"]]["recall_100"]
    assert [row["RR@10"] for row in table] == rows["RR@10"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["slices"]["all"]["queries"] == 12
    assert (
        metrics["slices"]["seen"]["queries"] == 1
    )  # the last test query shares document 3 with a training query
    mean = np.mean([values["ndcg_cut_10"] for values in expected.values()])
    assert metrics["slices"]["all"]["nDCG@10"] == pytest.approx(mean, abs=1e-12)
    assert metrics["status"] == "ok"
    assert {key: metrics[key] for key in ABOUT} == ABOUT


def test_scores_in_the_run_are_exact(bench, tmp_path):
    evaluate.main([tmp_path / "metrics.json"], json.dumps(ABOUT), bench.dataset, bench.vectors)
    searcher = DenseSearcher(bench.document_vectors, bench.query_vectors, 1)
    actual, expected = (
        read_run(tmp_path / "run.trec.gz"),
        rank(searcher, TestSplit(bench.dataset)),
    )
    assert {query: list(scores) for query, scores in actual.items()} == {
        query: list(scores) for query, scores in expected.items()
    }
    for query, scores in expected.items():
        read = np.array(list(actual[query].values()), dtype=np.float32)
        assert read.tolist() == list(scores.values())


def trained_run(folder, maps):
    """The folder of a trained run, its model in it."""
    folder.mkdir(parents=True)
    save_file(maps, folder / "model.safetensors")
    return folder / "metrics.json"


@pytest.mark.parametrize("kind", ["bm25", "untrained", "trained"])
def test_twice_gives_equal_bytes(bench, tmp_path, kind):
    rng = np.random.default_rng(1)
    maps = {side: rng.normal(size=(8, 8)).astype(np.float32) for side in ("query", "document")}
    runs = [tmp_path / name / "seed-4" for name in ("one", "two")]
    for run in runs:
        metrics = trained_run(run, maps)
        about = {**ABOUT, "track": "controlled"} if kind == "trained" else ABOUT
        evaluate.main([metrics], json.dumps(about), bench.dataset, None if kind == "bm25" else bench.vectors)
        (run / "model.safetensors").unlink()
        assert json.loads(metrics.read_text())["seed"] == (4 if kind == "trained" else None)
    names = sorted(path.name for path in runs[0].iterdir())
    assert names == ["metrics.json", "per_query.parquet", "run.trec.gz"]
    for name in names:
        content = (runs[0] / name).read_bytes()
        assert content == (runs[1] / name).read_bytes()
        assert str(tmp_path).encode() not in content
    assert (runs[0] / "run.trec.gz").read_bytes()[4:8] == bytes(4)  # gzip's modification time


def test_trained_maps_turn_both_sides(bench, tmp_path):
    rng = np.random.default_rng(3)
    maps = {side: rng.normal(size=(8, 8)).astype(np.float32) for side in ("query", "document")}
    metrics = trained_run(tmp_path / "seed-0", maps)
    evaluate.main([metrics], json.dumps({**ABOUT, "track": "controlled"}), bench.dataset, bench.vectors)
    documents = unit(bench.document_vectors.astype(np.float64) @ maps["document"].T)
    queries = unit(bench.query_vectors.astype(np.float64) @ maps["query"].T)
    run = read_run(tmp_path / "seed-0" / "run.trec.gz")
    for name, scores in run.items():
        products = documents.astype(np.float64) @ queries[int(name[1:])]
        assert scores == pytest.approx({f"d{row}": value for row, value in enumerate(products)}, abs=1e-5)
        assert list(scores) == [f"d{row}" for row in np.argsort(-products)][:100]


def test_broken_model_is_named(bench, tmp_path):
    metrics = trained_run(tmp_path / "seed-0", {"query": np.eye(8, dtype=np.float32)})
    about = json.dumps({**ABOUT, "track": "controlled"})
    with pytest.raises(UserError, match="no adapter can be read from it"):
        evaluate.main([metrics], about, bench.dataset, bench.vectors)
    (tmp_path / "seed-0" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"model\.safetensors: no adapter can be read from it .*run again"):
        evaluate.main([metrics], about, bench.dataset, bench.vectors)


def test_runs_of_one_job_get_what_each_gets_alone(bench, tmp_path):
    rng = np.random.default_rng(5)
    about = json.dumps({**ABOUT, "track": "controlled"})
    draws = [
        {side: rng.normal(size=(8, 8)).astype(np.float32) for side in ("query", "document")} for _ in "ab"
    ]
    jobs = [[trained_run(tmp_path / job / f"seed-{seed}", draws[seed]) for seed in (0, 1)] for job in "xy"]
    evaluate.main(jobs[0], about, bench.dataset, bench.vectors)
    for metrics in jobs[1]:
        evaluate.main([metrics], about, bench.dataset, bench.vectors)
    for one, other in zip(*jobs, strict=True):
        for name in ("metrics.json", "per_query.parquet", "run.trec.gz"):
            assert one.with_name(name).read_bytes() == other.with_name(name).read_bytes()
    assert jobs[0][0].read_bytes() != jobs[0][1].read_bytes()


ODD_IDS = [
    "a b", " a", "a\tb", "a\nb", "a\u2028b", "=1+1", "../../x", "/x", "<script>", "\\x", '"', "'", "\u202ea", 
    "\x1b[31m", "a%20b", "\u00e9", "\U0001f600", "x" * 100_000, "-1", "#", ",", "NaN", "\ufeff",
]  # fmt: skip


def test_a_run_file_keeps_its_columns_whatever_ids_hold(tmp_path):
    run = {
        name: {other: float(len(ODD_IDS) - place) for place, other in enumerate(ODD_IDS)}
        for name in ODD_IDS[:3]
    }
    evaluate.write_run(tmp_path / "run.trec.gz", run, "tag")
    text = gzip.decompress((tmp_path / "run.trec.gz").read_bytes()).decode()
    rows = [line.split() for line in text.split("\n")[:-1]]
    assert {len(row) for row in rows} == {6}
    assert [row[0] for row in rows[:: len(ODD_IDS)]] == ["a%20b", "%20a", "a%09b"]
    names = [row[2] for row in rows[: len(ODD_IDS)]]
    assert names[:5] == ["a%20b", "%20a", "a%09b", "a%0Ab", "a%E2%80%A8b"]
    assert names[5:] == ODD_IDS[5:]  # nothing else is changed


def test_metrics_are_the_same_whatever_ids_hold():
    plain = [f"d{place:02}" for place in range(len(ODD_IDS))]
    made = dict(zip(plain, sorted(ODD_IDS), strict=True))  # equal scores are ordered by id
    labels = {"q": {plain[3]: 1, plain[7]: 2}, "r": {plain[20]: 1}}
    scores = {name: {key: float(place // 2) for place, key in enumerate(plain)} for name in labels}
    odd = [
        {name: {made[key]: value for key, value in row.items()} for name, row in part.items()}
        for part in (labels, scores)
    ]
    assert Evaluator(odd[0]).values(odd[1]) == Evaluator(labels).values(scores)
