"""The judge of made texts: scores by an encoder and by a cross-encoder, the filter, and what the corpus has already."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from builders import tiny_model
from negmark.core.errors import UserError
from negmark.encode.encoder import Encoder
from negmark.encode.tokens import Texts, tokenise
from negmark.store import collection
from negmark.store.auxiliary import COLUMNS, read_auxiliary
from negmark.train.judged_texts import ceilings, equal_documents, lines_of, main
from world import write_world

LENGTHS = {"query_length": 32, "document_length": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def world(folder):
    return write_world(folder / "world")


@pytest.fixture(scope="module")
def judge(folder):
    model = tiny_model(folder / "model")
    return {"model": str(model), "dtype": "float32", "similarity": "cosine", "query_prompt": "", "document_prompt": "",
            **LENGTHS}  # fmt: skip


def settings(judge, **changes):
    return json.dumps(
        {"judge": judge, "versions": 2, "below": 0.95, "least_overlap": 0.2, "most_overlap": 0.95, **changes}
    )


@pytest.fixture(scope="module")
def texts(folder, world):
    """For a query: its positive without a word, another document's text, a copy of its positive, one word."""
    documents, _ = collection.texts(world.dataset)
    kept = world.labels.positives()
    query, positive = int(kept.queries[20]), int(kept.documents[20])
    other = next(row for row in range(world.documents) if (query, row) not in world.positives and row > 3)
    made = [
        (" ".join(documents[positive].split()[:-1]), "drop"),
        (documents[other].upper(), "splice"),
        (f" {documents[positive]}", "negation"),
        ("zebra", "entity"),
        ("  zebra ", "number"),
    ]
    path = folder / "texts.jsonl"
    path.write_text("".join(
        json.dumps({"query": f"q{query}", "positive": f"d{positive}", "kind": kind, "text": text}) + "\n"
        for text, kind in made
    ))  # fmt: skip
    return path, query, positive, other


def vectors(judge, lines):
    from pathlib import Path

    model = Path(judge["model"])
    return Encoder(model, "float32").encode(tokenise(model, Texts(lines, 32, "")))


def test_texts_are_judged_with_their_positive_and_by_what_the_corpus_has(folder, world, judge, texts):
    path, query, positive, other = texts
    main(world.dataset, settings(judge), folder / "judged.parquet", path)
    table = pq.read_table(folder / "judged.parquet").to_pandas()
    assert list(table) == list(COLUMNS)
    assert table["kind"].tolist() == ["drop", "splice", "negation", "entity"], "a text is taken once a query"
    assert (table["query"] == query).all()
    assert (table["document"] == positive).all()
    assert table["equals"].tolist() == [-1, other, positive, -1]
    assert table["answers"].tolist() == [False, False, True, False]
    documents, queries = collection.texts(world.dataset)
    left = vectors(judge, [queries[query]])[0]
    np.testing.assert_allclose(table["score"], vectors(judge, table["text"].tolist()) @ left, atol=1e-6)
    np.testing.assert_allclose(
        table["positive_score"], vectors(judge, [documents[positive]])[0] @ left, atol=1e-6
    )
    words = set(documents[positive].split())
    assert table["overlap"][0] == pytest.approx((len(words) - 1) / len(words))
    assert table["overlap"][3] == 0
    expected = (table["score"] <= table["positive_score"] - 0.05 * table["positive_score"].abs()) & (
        table["overlap"].between(0.2, 0.95) & (table["equals"] < 0)
    )
    assert table["passes"].tolist() == expected.tolist()
    texts_beside = read_auxiliary([folder / "judged.parquet"])
    ids, scores = texts_beside.candidates(
        np.array([query, query + 1]), ["drop", "splice", "entity"], judged=False
    )
    assert ids.tolist() == [[-3, -6], [-1, -1]], "no text that a document has"
    assert np.isneginf(scores[1]).all()


@pytest.mark.parametrize(
    ("changes", "passing"),
    [
        ({"below": 1e-9, "least_overlap": 0.0}, []),
        ({"below": 1.0, "least_overlap": 0.9, "most_overlap": 1.0}, []),
    ],
)
def test_the_filter_is_as_its_settings_say(changes, passing, folder, world, judge, texts):
    main(world.dataset, settings(judge, **changes), folder / "strict.parquet", texts[0])
    table = pq.read_table(folder / "strict.parquet").to_pandas()
    assert table["kind"][table["passes"]].tolist() == passing


def test_the_ceiling_is_percpos_and_lies_below_a_negative_score():
    np.testing.assert_allclose(ceilings(np.array([0.8, -0.4, 0.0]), 0.95), [0.76, -0.42, 0.0])


def test_the_first_of_equal_documents_is_named():
    found = equal_documents(["b  B", "nothing", "a"], iter(["a", "B b", "b b", "A"]))
    assert found.tolist() == [1, -1, 0]


def test_a_cross_encoder_judges_by_probabilities(folder, world, texts):
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    model = tiny_model(folder / "ranker")
    torch.manual_seed(5)
    config = BertConfig.from_pretrained(model, num_labels=1)
    network = BertForSequenceClassification(config).eval()
    network.save_pretrained(model)
    main(
        world.dataset,
        settings({"ranker": str(model), "dtype": "float32", **LENGTHS}),
        folder / "by.parquet",
        texts[0],
    )
    table = pq.read_table(folder / "by.parquet").to_pandas()
    _, queries = collection.texts(world.dataset)
    tokenizer = AutoTokenizer.from_pretrained(model)
    pairs = tokenizer([queries[texts[1]]] * len(table), table["text"].tolist(), padding=True, truncation=True,
                      max_length=32, return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        expected = expit(network(**pairs).logits[:, 0].numpy())
    np.testing.assert_allclose(table["score"], expected, atol=1e-5)


def test_what_is_retrieved_is_judged_too(folder, world, judge):
    pools = [f"{kind}={world.vectors.parent / f'{kind}.safetensors'}" for kind in ("bm25", "dense")]
    main(world.dataset, settings(judge), folder / "retrieved.parquet", None, pools)
    table = pq.read_table(folder / "retrieved.parquet").to_pandas()
    assert set(table["kind"]) == {"bm25", "dense"}
    assert (table["equals"] >= 0).all()
    assert not table["passes"].any(), "documents of the corpus are no texts beside it"
    assert table.groupby(["kind", "query"]).size().max() == 2


def test_a_file_of_another_dataset_is_refused_in_one_line(folder, world):
    path = folder / "foreign.jsonl"
    path.write_text(json.dumps({"query": "nobody", "positive": "d1", "kind": "drop", "text": "a"}) + "\n")
    with pytest.raises(
        UserError, match=r"foreign\.jsonl:1: dataset has no query 'nobody' or no document 'd1'"
    ):
        lines_of(path, world.dataset)
