"""A run's negatives as files: which they are, what other trainers ask for, and sentence-transformers trains on them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import AutoTokenizer

from builders import Bench, tiny_model
from negmark.core.errors import UserError
from negmark.share import negatives
from negmark.share.trainer_files import WRITERS
from negmark.store import collection
from negmark.store.ledger import VECTOR, read_ledger

MOST = 4


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def run(bench, tmp_path_factory) -> Path:
    return bench.train(tmp_path_factory.mktemp("runs") / "simans", bench.spec("simans", steps=30))


@pytest.fixture(scope="module")
def written(bench, run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for name in WRITERS:
        negatives.main(run, bench.dataset, folder / name, folder / f"{name}.about.json")
    return folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ledger(*rows: tuple[int, int, int, float, float, bool]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["step", "query", "document", "score", "weight", "backfilled"])


def test_the_file_has_distinct_negatives_last_seen_first():
    rows, left_out = negatives.chosen_rows(
        ledger(
            (0, 7, 1, 0.1, 1, False), (0, 7, 2, 0.2, 1, False), (0, 5, 9, 0.9, 1, False),
            (1, 7, 3, 0.3, 1, False), (1, 7, 1, 0.4, 1, False), (1, 7, VECTOR, 0.5, 1, False),
            (2, 5, 8, 0.6, 0, False), (2, 5, 6, 0.7, 1, True), (2, 5, 4, 0.8, 2, False), (2, 5, -3, 0.8, 1, False),
        ),
        2,
    )  # fmt: skip
    assert rows[["query", "document"]].to_numpy().tolist() == [[5, 4], [5, 9], [7, 3], [7, 1]]
    assert rows["score"].tolist() == [0.8, 0.9, 0.3, 0.4]
    assert left_out == {
        "vectors": 1, "beside_the_corpus": 1, "backfilled": 1, "without_weight": 1, "repeats": 1, "seen_earlier": 1,
    }  # fmt: skip


def test_positives_are_those_of_all_visits_not_of_the_last_alone(bench):
    """Document 40 was made a positive at the first visit, document 41 at the last, which gave all the negatives."""
    visits = ledger((0, 5, 50, 0.1, 1, False), (1, 5, 51, 0.1, 1, False)).assign(positive=[40, 41])
    rows, _ = negatives.chosen_rows(visits, 1)
    (found,) = negatives.chosen_of(bench.dataset, "made", rows, visits)
    assert [one.id for one in found.negatives] == ["d51"]
    assert {"d40", "d41"} < {one.id for one in found.positives}


def test_all_files_have_what_the_run_trained_on_last(bench, run, written):
    table = read_ledger(run / "negatives.parquet").to_pandas()
    labels = collection.qrels(bench.dataset, "train")
    positives = pd.Series(labels.documents).groupby(labels.queries).apply(sorted).to_dict()
    found = lines(written / "tevatron.jsonl")
    assert [one["query_id"] for one in found] == [f"q{row}" for row in range(bench.train_queries)]
    for one in found:
        row = int(one["query_id"][1:])
        seen = table[table["query"] == row]
        last = seen[seen["step"] == seen["step"].max()]
        given = [int(passage["docid"][1:]) for passage in one["negative_passages"]]
        assert given == last["document"].tolist()
        scores = [passage["score"] for passage in one["negative_passages"]]
        assert np.allclose(scores, last["score"], atol=1e-6)
        assert [int(passage["docid"][1:]) for passage in one["positive_passages"]] == positives[row]
    pairs = {(one["query"], text) for one in lines(written / "bge.jsonl") for text in one["neg"]}
    assert len(pairs) == MOST * bench.train_queries
    assert {(one["anchor"], one["negative"]) for one in lines(written / "triplets.jsonl")} == pairs
    tuples = lines(written / "tuples.jsonl")
    assert {(one["anchor"], one[f"negative_{n}"]) for one in tuples for n in range(1, MOST + 1)} == pairs
    assert len(tuples) == len(labels.queries)
    contexts = {
        (one["question"], context["text"])
        for one in lines(written / "dpr.jsonl")
        for context in one["hard_negative_ctxs"]
    }
    assert contexts == pairs
    ranked = [line.split() for line in (written / "run.trec").read_text().splitlines()]
    assert {(f"query {q}", f"document {d}") for q, _, d, *_ in ranked} == pairs
    for _, part in pd.DataFrame(ranked).groupby(0):
        assert part[3].tolist() == ["1", "2", "3", "4"]
        assert part[4].astype(float).is_monotonic_decreasing


def test_keys_are_those_that_flagembedding_tevatron_and_dpr_ask_for(written):
    """By FlagEmbedding's AbsDataset.py (1b971d0), Tevatron's dataset.py (0a9626f) and DPR's README."""
    for one in lines(written / "bge.jsonl"):
        assert isinstance(one["query"], str)
        assert all(isinstance(one[key], list) and one[key] for key in ("pos", "neg"))
        assert all(isinstance(text, str) for key in ("pos", "neg") for text in one[key])
        assert len(one["neg_scores"]) == len(one["neg"])
        assert "type" not in one  # it would ask for another loss
    for one in lines(written / "tevatron.jsonl"):
        assert isinstance(one["query"], str)
        for passage in [*one["positive_passages"], *one["negative_passages"]]:
            assert all(isinstance(passage[key], str) for key in ("docid", "title", "text"))
    for one in lines(written / "dpr.jsonl"):
        assert {"question", "answers", "positive_ctxs", "negative_ctxs", "hard_negative_ctxs"} <= one.keys()
        for context in [*one["positive_ctxs"], *one["hard_negative_ctxs"]]:
            assert all(isinstance(context[key], str) for key in ("title", "text", "passage_id"))


@pytest.mark.parametrize(
    ("name", "columns"), [("triplets", 3), ("tuples", 2 + MOST), ("bge", 7), ("tevatron", 4)]
)
def test_load_dataset_reads_them(written, tmp_path, name, columns):
    loaded = load_dataset(
        "json", data_files=str(written / f"{name}.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert len(loaded) == len(lines(written / f"{name}.jsonl"))
    assert len(loaded.column_names) == columns
    assert loaded[0] == lines(written / f"{name}.jsonl")[0]


@pytest.mark.parametrize("name", ["triplets", "tuples"])
def test_sentence_transformers_trains_on_them(written, tmp_path, name):
    loaded = load_dataset(
        "json", data_files=str(written / f"{name}.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tmp_path / "model"))
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer._tokenizer, embedding_dim=8)], device="cpu"
    )
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=8, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    before = model[0].embedding.weight.detach().clone()
    trainer = SentenceTransformerTrainer(
        model, arguments, loaded, loss=losses.MultipleNegativesRankingLoss(model)
    )
    assert np.isfinite(trainer.train().training_loss)
    assert not (model[0].embedding.weight == before).all()


def test_a_file_says_where_it_comes_from(bench, run, written):
    manifest = json.loads((run / "manifest.json").read_text())
    for name in WRITERS:
        told = json.loads((written / f"{name}.about.json").read_text())
        assert told["file"] == name
        assert told["run"] == {
            "suite": "bench", "dataset": "made", "row": "simans", "method": "simans", "seed": 0,
            "params": manifest["run"]["params"], "tier": "adapter", "track": "controlled",
        }  # fmt: skip
        assert told["code"] == manifest["code"]
        assert told["data"] == manifest["data"]
        assert told["scores"].startswith("cosine similarity")
        assert told["lines"] == len((written / name).read_text().splitlines())
        assert told["negatives"] == MOST * bench.train_queries
        assert told["queries"] == {"labelled": 60, "seen": 60, "too_few_for_the_format": 0}
        total = sum(told["left_out"].values()) + told["negatives"]
        assert total == len(read_ledger(run / "negatives.parquet"))


def test_queries_with_fewer_negatives_are_left_out_of_tuples_alone_and_told(bench, tmp_path):
    run = bench.train(tmp_path / "run", bench.spec("random", steps=8, negatives=3))
    table = read_ledger(run / "negatives.parquet").to_pandas()
    short = table["query"] == 5
    pq.write_table(
        pa.Table.from_pandas(table[~short | (table.index == table.index[short][0])]),
        run / "negatives.parquet",
    )
    for name in ("tuples.jsonl", "bge.jsonl"):
        negatives.main(run, bench.dataset, tmp_path / name, tmp_path / f"{name}.about.json")
    assert "query q5" not in {one["anchor"] for one in lines(tmp_path / "tuples.jsonl")}
    assert len(next(one for one in lines(tmp_path / "bge.jsonl") if one["query"] == "query q5")["neg"]) == 1
    about = json.loads((tmp_path / "tuples.jsonl.about.json").read_text())
    assert about["queries"]["too_few_for_the_format"] == 1


def test_a_run_without_negatives_of_its_own_gives_no_file(bench, tmp_path):
    run = bench.train(tmp_path / "run", bench.spec("inbatch", steps=2))
    with pytest.raises(
        UserError, match="made: inbatch, seed 0: it trained on no document that its method chose"
    ):
        negatives.main(run, bench.dataset, tmp_path / "bge.jsonl", tmp_path / "about.json")
    assert not (tmp_path / "bge.jsonl").exists()
