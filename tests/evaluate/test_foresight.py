"""Training-free scores of negatives, against values worked by hand and those of the method sheet."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from board_files import write_runs
from builders import Bench, contents_file
from negmark.board.figures.foresight import draw_foresight, foresight_table
from negmark.board.standings import summarise
from negmark.compare.statistics import association
from negmark.core.errors import UserError
from negmark.evaluate.foresight import balance, first_negatives, foresee, main
from negmark.store.collection import qrels
from negmark.store.contents import Contents
from negmark.store.labels import Labels
from negmark.store.ledger import VECTOR, read_ledger
from negmark.store.run import read_run
from negmark.train.inputs import load_materials
from negmark.train.run import set_up


@pytest.mark.parametrize(
    ("size", "hardness", "safety", "expected"),
    [
        (1, 0.6, 0.8, 0.475301),
        (7, 0.6, 0.8, 1.425903),
        (7, 0.9, 0.1, 0.374299),
        (7, 0.1, 0.9, 0.374299),
        (7, 0.0, 0.5, 0.0),
        (7, 0.5, 0.0, 0.0),
        (7, 0.0, 0.0, 0.0),
    ],
)
def test_the_balance_of_one_query(size: int, hardness: float, safety: float, expected: float) -> None:
    """The first three are the oracles of the sheet: log(1 + K) 2 H M / (H + M)."""
    score, efficiency = balance(np.log1p([size]), np.array([hardness]), np.array([safety]))
    assert score[0] == pytest.approx(expected, abs=1e-6)
    assert efficiency[0] == pytest.approx(expected / math.log1p(size), abs=1e-6)


def negatives(*rows: tuple[int, int, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["step", "query", "positive", "negative", "false"])


def test_scores_are_means_over_visits_of_queries() -> None:
    scores = foresee(
        negatives(
            (0, 1, 0.6, 0.2, 0), (0, 1, 0.6, 0.5, 1),  # one visit with two negatives
            (0, 2, 0.5, 0.6, 0),  # one that is harder than its positive
            (3, 1, 0.8, -1.0, 0),  # query 1 again
        )
    )  # fmt: skip
    assert (scores["queries"], scores["negatives"]) == (3, 4)
    assert scores["hardness"] == pytest.approx((0.35 + 0.6 - 1.0) / 3)
    assert scores["margin"] == pytest.approx((0.25 - 0.1 + 1.8) / 3)
    assert scores["false_negative_rate"] == pytest.approx(1 / 4), "of negatives"
    # half a gap of .4 is .2, fully safe at .1; of .1 it is .05, half safe; one that outscores its positive is unsafe;
    # H is .675, .8 and 0, so E is 2 * .675 * .75 / 1.425, 0 and 0
    efficiency = 2 * 0.675 * 0.75 / 1.425
    assert scores["efficiency"] == pytest.approx(efficiency / 3)
    assert scores["balance"] == pytest.approx(math.log(3) * efficiency / 3)


def test_unknown_truth_is_no_rate() -> None:
    assert math.isnan(foresee(negatives((0, 1, 0.6, 0.2, math.nan)))["false_negative_rate"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def labels(bench: Bench) -> Labels:
    return Labels(qrels(bench.dataset, "train"), bench.documents)


def test_cosines_are_those_before_training(bench: Bench, labels: Labels, tmp_path: Path) -> None:
    run = bench.train(tmp_path, bench.spec("random", steps=25))
    ledger = read_ledger(run / "negatives.parquet").to_pandas()
    vectors = bench.document_vectors, bench.query_vectors
    early = first_negatives(ledger, {"steps": 25, "batch_size": 16}, 0, labels, vectors)
    assert early["step"].unique().tolist() == [0, 1, 2], "a tenth of 25 steps, rounded up"
    assert len(early) == 3 * 16 * 4
    row = early[early["step"] == 2].iloc[5]
    queries, positives = labels.batch(0, 2, 16)
    positive = positives[list(queries).index(row["query"])]
    query = bench.query_vectors[row["query"]]
    assert row["positive"] == pytest.approx(float(query @ bench.document_vectors[positive]), abs=1e-6)
    assert row["negative"] == pytest.approx(float(query @ bench.document_vectors[row["document"]]), abs=1e-6)
    at_start = early[early["step"] == 0]
    assert at_start["negative"].to_numpy() == pytest.approx(at_start["score"].to_numpy(), abs=1e-5)
    assert np.abs(row["negative"] - row["score"]) > 1e-4, "the ledger's own have moved with training by then"


def test_a_vector_keeps_the_score_of_the_ledger(bench: Bench, labels: Labels) -> None:
    queries, _ = labels.batch(0, 0, 16)
    ledger = pd.DataFrame(
        {"step": 0, "query": queries[:2], "document": VECTOR, "score": [0.25, 0.75], "weight": 1.0}
    )
    vectors = bench.document_vectors, bench.query_vectors
    early = first_negatives(ledger, {"steps": 10, "batch_size": 16}, 0, labels, vectors)
    assert early["negative"].tolist() == [0.25, 0.75]


def test_a_query_that_is_twice_in_a_batch_is_left_out(bench: Bench, labels: Labels) -> None:
    whole = len(labels.queries)  # one batch over one epoch and a half
    queries, _ = labels.batch(0, 0, whole + whole // 2)
    drawn, counts = np.unique(queries, return_counts=True)
    assert (counts == 2).sum() == whole // 2
    ledger = pd.DataFrame({"step": 0, "query": drawn, "document": 89, "score": 0.5, "weight": 1.0})
    vectors = bench.document_vectors, bench.query_vectors
    early = first_negatives(ledger, {"steps": 1, "batch_size": whole + whole // 2}, 0, labels, vectors)
    assert early["query"].tolist() == drawn[counts == 1].tolist()


def test_positives_of_batches_that_a_method_put_together(
    bench: Bench, labels: Labels, tmp_path: Path
) -> None:
    """Six of 60 steps of 16 queries, of 60: in the fourth one epoch ends and the next begins, so it is left out."""
    spec = bench.spec("random", steps=60)
    spec["composer"] = {"method": "tas_b", "params": {"size": 10}}
    ledger = read_ledger(bench.train(tmp_path, spec) / "negatives.parquet").to_pandas()
    run = set_up(spec, load_materials(bench.dataset, bench.vectors, {}))
    known = {
        (step, query): positive
        for step in range(6)
        for query, positive in zip(*(side.tolist() for side in run.batches.taken(step)), strict=True)
    }
    vectors = bench.document_vectors, bench.query_vectors
    early = first_negatives(ledger, spec["training"], 0, labels, vectors, composed=True)
    assert early["step"].unique().tolist() == [0, 1, 2, 4, 5]
    assert len(early) == 5 * 16 * 4
    wanted = [
        float(bench.query_vectors[query] @ bench.document_vectors[known[step, query]])
        for step, query in zip(early["step"], early["query"], strict=True)
    ]
    assert early["positive"].tolist() == pytest.approx(wanted, abs=1e-6)
    late = ledger[ledger["step"] > 50]
    assert first_negatives(late, spec["training"], 0, labels, vectors, composed=True).empty


def test_a_ledger_of_other_queries_is_a_mistake(bench: Bench, labels: Labels) -> None:
    other = [row for row in labels.queries if row not in labels.batch(0, 0, 16)[0]]
    ledger = pd.DataFrame({"step": 0, "query": other[:1], "document": 5, "score": 0.5, "weight": 1.0})
    with pytest.raises(UserError, match="queries that its seed does not draw"):
        first_negatives(
            ledger, {"steps": 1, "batch_size": 16}, 0, labels, (bench.document_vectors, bench.query_vectors)
        )


def test_the_table_has_the_runs_with_negatives(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = Path("results/runs/bench/made")
    for method in ("inbatch", "random", "dense_topk"):
        bench.train_seeds(row / method, bench.spec(method), [0, 1])
    listed = Contents(
        suite="bench", cards={"made": ""}, rows=["inbatch", "random", "dense_topk"], seeds=[0, 1]
    )
    main(contents_file(listed, tmp_path), "made", bench.dataset, bench.vectors, tmp_path / "made.csv")
    table = pd.read_csv(tmp_path / "made.csv")
    assert table[["row", "seed"]].to_numpy().tolist() == [
        ["random", 0], ["random", 1], ["dense_topk", 0], ["dense_topk", 1],
    ]  # fmt: skip
    assert table["false_negative_rate"].isna().all(), "nothing is hidden here"
    hardness = table.groupby("row")["hardness"].mean()
    assert hardness["dense_topk"] > hardness["random"]
    margin = table.groupby("row")["margin"].mean()
    assert margin["dense_topk"] < margin["random"]


def test_rank_correlations_by_hand() -> None:
    result = association([1, 2, 3, 4, 5], [1, 2, 3, 5, 4])
    assert result.methods == 5
    assert result.rho == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert result.tau == pytest.approx((9 - 1) / 10)
    assert result.p == pytest.approx(2 * 5 / 120), (
        "of 120 orders one has no swap and four have one, either way"
    )
    # z = atanh(.9) = 1.472219, its error sqrt((1 + .405) / 2) = .838153, times 1.959964
    assert result.rho_low == pytest.approx(math.tanh(1.472219 - 1.642749), abs=1e-5)
    assert result.rho_high == pytest.approx(math.tanh(1.472219 + 1.642749), abs=1e-5)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0, 1.0]], ids=["two methods", "all equal"])
def test_what_is_no_order_has_no_correlation(values: list[float]) -> None:
    assert np.isnan(association(values, list(range(len(values))))[1:]).all()


def test_the_interval_of_rho_covers_at_its_level() -> None:
    """Without correlation, at 12 methods: 95 % of the intervals contain 0, within the error of 600 draws."""
    rng = np.random.default_rng(1)
    results = [association(*rng.normal(size=(2, 12))) for _ in range(600)]
    covered = np.mean([one.rho_low <= 0 <= one.rho_high for one in results])
    assert 0.92 < covered < 0.98


VALUES = {"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7, "told": 0.9, "batch": 0.4}


@pytest.fixture
def made(tmp_path: Path) -> tuple[list, Path]:
    """Four methods whose balance has the order of the board, a control, and one without negatives of its own."""
    paths = []
    for name, value in VALUES.items():
        paths += write_runs(
            tmp_path / "made", "scifact", name, {"unseen": (value, value), "seen": (0.5, 0.5)}
        )
    paper = {"unseen": (0.2, 0.2), "seen": (0.5, 0.5)}
    paths += write_runs(tmp_path / "made", "scifact", "paper", paper, track="faithful")
    rows = [
        {
            "row": name,
            "seed": seed,
            "balance": VALUES.get(name, 0.5) + seed / 100,
            "hardness": hardness,
            "margin": 0.5,
        }
        for name, hardness in (("a", 0.4), ("b", 0.3), ("c", 0.2), ("d", 0.1), ("told", 0.9), ("paper", 0.9))
        for seed in (0, 1)
    ]
    pd.DataFrame(rows).assign(false_negative_rate=np.nan).to_csv(tmp_path / "scores.csv", index=False)
    return [read_run(path) for path in paths], tmp_path / "scores.csv"


def test_correlations_are_of_the_controlled_track_without_controls(made: tuple[list, Path]) -> None:
    runs, scores = made
    table = foresight_table(summarise(runs), pd.read_csv(scores), ["told"])
    assert table["score"].unique().tolist() == ["balance", "hardness", "margin"], "no rate is known"
    first = table.drop_duplicates("score").set_index("score")
    assert first["methods"].tolist() == [4, 4, 4]
    assert first.loc["balance", ["rho", "tau"]].tolist() == pytest.approx([1, 1])
    assert first.loc["hardness", ["rho", "tau"]].tolist() == pytest.approx([-1, -1])
    assert first.loc["balance", "p"] == pytest.approx(2 / 24)
    assert first.loc["balance", "p_holm"] == pytest.approx(2 * 2 / 24), (
        "two are tested: a constant margin is no test"
    )
    assert math.isnan(first.loc["margin", "tau"])
    assert set(table["row"]) == {"a", "b", "c", "d", "told"}
    assert table.query("row == 'a' and score == 'balance'")["value"].item() == pytest.approx(0.105), (
        "mean of seeds"
    )


def test_the_figure_says_what_it_shows(made: tuple[list, Path], tmp_path: Path) -> None:
    runs, scores = made
    draw_foresight(runs, scores, "scifact", tmp_path / "figures", ["told"])
    names = {path.suffix for path in (tmp_path / "figures").iterdir()}
    assert names == {".svg", ".png", ".pdf", ".csv", ".txt"}
    caption = " ".join((tmp_path / "figures" / "scifact-foresight.txt").read_text().split())
    assert "after an idea of arXiv 2603.20990 (ECI), but not its formula" in caption
    assert "In the adapter tier (4 methods) no score is shown to predict the board." in caption
    assert "Without negatives of their own, and so without scores: batch." in caption
    assert "first 10% of a run's steps" in caption


def test_of_two_methods_nothing_is_drawn(made: tuple[list, Path], tmp_path: Path) -> None:
    runs, scores = made
    few = [run for run in runs if run["row"] in {"a", "b", "told"}]
    draw_foresight(few, scores, "scifact", tmp_path, ["told"])
    assert pd.read_csv(tmp_path / "scifact-foresight.csv").empty
    assert "Fewer than 3 methods" in (tmp_path / "scifact-foresight.txt").read_text()
