"""A board read back by a script: its tables, its runs, and a line for each mistake."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import negmark
from builders import Bench, contents_file
from negmark import Board, open_board
from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.evaluate import evaluate
from negmark.store.contents import Contents

ROWS = ["dense_topk", "random"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two evaluated runs of two rows, and a board that names them."""
    root = tmp_path_factory.mktemp("root")
    bench = Bench(root / "made")
    (root / "results" / "datasets").mkdir(parents=True)
    (root / "results" / "datasets" / bench.dataset.name).symlink_to(bench.dataset)
    for row in ROWS:
        for seed in (0, 1):
            run = bench.train(root / "results" / "runs" / "s" / "made" / row, bench.spec(row, seed))
            about = {"track": "controlled", "tier": "adapter", "dataset": "made", "title": row, "row": row}
            about |= {
                "suite": "s",
                "method": row,
                "start": "x",
                "adaptations": [],
                "summary": "",
                "paper": "",
            }
            about |= {"params": {}, "conditions": {}, "chain": [], "before": "untrained"}
            about |= {"metrics": ["nDCG@10", "RR@10", "R@100"]}
            evaluate.main([run / "metrics.json"], canonical(about), bench.dataset, bench.vectors)
    board = root / "results" / "leaderboards" / "s"
    board.mkdir(parents=True)
    (board / "leaderboard.csv").write_text("dataset,row\nmade,random\n")
    contents_file(Contents(suite="s", cards={"made": "card.json"}, rows=ROWS, seeds=[0, 1]), board)
    for name in (
        "untrained",
        "bm25_search",
    ):  # a board has its baselines; here they are runs under their names
        folder = root / "results" / "runs" / "s" / "made" / name
        folder.mkdir()
        for file in ("metrics.json", "per_query.parquet"):
            text = (folder.with_name("random") / "seed-0" / file).read_bytes()
            (folder / file).write_bytes(text.replace(b'"row": "random"', f'"row": "{name}"'.encode()))
    return root


def test_importing_the_package_costs_nothing_and_names_what_scripts_use() -> None:
    assert {"Board", "open_board", "__version__"} <= set(dir(negmark))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = negmark.nothing


def test_tables_contents_and_scores_are_each_a_line(root: Path) -> None:
    board = open_board("s", root)
    assert repr(board).endswith("results/leaderboards/s')")
    assert isinstance(board, Board)
    assert board.table["row"].tolist() == ["random"]
    assert board.contents.rows == ROWS
    scores = board.query_scores("made").frame()
    assert set(scores.columns) == {"row", "seed", "query", "slice", "nDCG@10", "RR@10", "R@100"}
    one = scores[(scores["row"] == "random") & (scores["seed"] == 1)]
    run = board.run("made", "random", seed=1)
    assert one["nDCG@10"].tolist() == run.per_query["nDCG@10"].tolist()
    assert run.metrics["slices"]["all"]["nDCG@10"] == pytest.approx(one["nDCG@10"].mean())


def test_a_ledger_is_read_with_its_texts(root: Path) -> None:
    run = open_board("s", root).run("made", "dense_topk", seed=0)
    plain, texts = run.negatives(), run.negatives(texts=True)
    pd.testing.assert_frame_equal(texts[plain.columns], plain)
    documents = pd.read_parquet(
        root / "results" / "datasets" / run.manifest["collection"] / "documents.parquet"
    )
    assert texts["document_id"].tolist() == documents["id"].iloc[plain["document"]].tolist()
    assert np.all(texts["query_text"].str.len() > 0)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda root: open_board("none", root), "there is no such board; boards: s"),
        (lambda root: open_board("", root), "there is no such board"),
        (lambda root: open_board("..", root), "there is no such board"),
        (lambda root: open_board("s", root).query_scores("mde"), "no dataset 'mde'; it has made"),
        (lambda root: open_board("s", root).run_folders("mde"), "no dataset 'mde'"),
        (lambda root: open_board("s", root).audit("../leaderboard"), "no dataset '../leaderboard'"),
        (lambda root: open_board("s", root).run("made", "simans", 0), "no row 'simans'; it has dense_topk, random"),
        (lambda root: open_board("s", root).run("made", "random", 7), "no seed 7; it has 0, 1"),
        (lambda root: open_board("s", root).differences, "differences.csv: there is no such file here; run "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(root: Path, ask, message: str) -> None:
    with pytest.raises(UserError) as caught:
        ask(root)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
