"""A cross-encoder as teacher: what it says of a pool's candidates, who may ask it, and what methods make of it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from negmark.core.errors import UserError
from negmark.methods import teacher
from negmark.store import collection
from negmark.store.judgments import Judgments
from negmark.store.pool import CandidatePool, read_arrays
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.train import judgments
from negmark.train.inputs import load_materials
from negmark.train.run import set_up
from negmark.train.step import _example
from texts import Texts


class Judged(Texts):
    """The made dataset with a tiny cross-encoder's judgments of its dense pool."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        torch.manual_seed(0)
        self.ranker = folder / "ranker"
        model = AutoModelForSequenceClassification.from_pretrained(self.model, num_labels=1)
        torch.nn.init.normal_(model.classifier.weight, std=2.0)
        model.save_pretrained(self.ranker)
        AutoTokenizer.from_pretrained(self.model).save_pretrained(self.ranker)
        self.options = {
            "ranker": str(self.ranker),
            "query_length": 16,
            "document_length": 16,
            "dtype": "float32",
        }
        self.judgments = folder / "judgments.safetensors"

    def judge(self, output: Path | None = None, **options) -> Path:
        settings = json.dumps({**self.options, **options})
        judgments.main(self.pool, self.dataset, settings, output or self.judgments)
        return output or self.judgments

    def taught(self, method: str, track: str = "controlled", **params):
        materials = load_materials(
            self.dataset, self.vectors, {"dense": CandidatePool(self.pool)}, judgments=self.judgments
        )
        spec = self.spec(method, track=track)
        return set_up({**spec, "params": params}, materials)


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Judged:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEGMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        made = Judged(tmp_path_factory.mktemp("judged"))
        made.judge()
    return made


def logits(judged: Judged, query: int, documents: list[int]) -> np.ndarray:
    """What transformers says of pairs, one at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(judged.ranker).eval()
    tokenizer = AutoTokenizer.from_pretrained(judged.ranker)
    texts, queries = collection.texts(judged.dataset)
    with torch.no_grad():
        return np.array(
            [
                model(**tokenizer(queries[query], texts[row], truncation=True, max_length=32, return_tensors="pt"))
                .logits.item()
                for row in documents
            ]
        )  # fmt: skip


def test_every_candidate_and_positive_has_the_logit_that_transformers_gives(judged):
    pool, found = CandidatePool(judged.pool), Judgments(judged.judgments)
    arrays = read_arrays(judged.pool)
    for place in (0, 7):
        query, document = int(arrays["positive_queries"][place]), int(arrays["positive_documents"][place])
        ids, _ = pool.candidates(np.array([query]), 3)
        asked = np.array([[document, -1, *ids[0]]])
        scores = found.scores(np.array([query]), asked)[0]
        assert scores[1] == -np.inf
        wanted = logits(judged, query, [document, *ids[0]])
        np.testing.assert_allclose(scores[[0, 2, 3, 4]], wanted, atol=1e-4)
    known = {document, *pool.candidates(np.array([query]))[0][0]}
    outside = [row for row in range(len(judged.document_vectors)) if row not in known]
    with pytest.raises(KeyError, match="outside the dense pool"):
        found.scores(np.array([query]), np.array([outside[:1]]))


def test_a_killed_job_scores_only_what_is_missing_and_a_second_one_nothing(judged, tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path))
    monkeypatch.setattr(judgments, "QUERIES_AT_A_TIME", 16)
    calls: list[int] = []
    forward = judgments.Ranker.forward

    def counting(self, queries, documents):
        calls.append(len(queries))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return forward(self, queries, documents)

    monkeypatch.setattr(judgments.Ranker, "forward", counting)
    with pytest.raises(KeyboardInterrupt):
        judged.judge(tmp_path / "again.safetensors")
    judged.judge(tmp_path / "again.safetensors")
    parts = (
        math.ceil(judged.train_queries / 16),
        math.ceil(len(read_arrays(judged.pool)["positive_scores"]) / 16),
    )
    assert len(calls) == sum(parts) + 1, "the first part is not scored again"
    wanted, found = read_arrays(judged.judgments), read_arrays(tmp_path / "again.safetensors")
    for name in ("scores", "positive_scores"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)
    judged.judge(tmp_path / "third.safetensors")
    assert len(calls) == sum(parts) + 1, "the cache has them"
    judged.judge(tmp_path / "other.safetensors", document_length=8)
    assert len(calls) > sum(parts) + 1, "other lengths are another content"


def test_simans_distils_from_the_logits_as_they_are(judged):
    run = judged.taught("simans", "faithful")
    example = _example(run, 0)
    documents = np.concatenate([example.batch.positives[:, None], example.negatives.ids], axis=1)
    aim = Judgments(judged.judgments).scores(example.batch.queries, documents)
    own = torch.cat([example.scores.positive[:, None], example.scores.negatives], dim=1).detach() / 0.05
    p = torch.from_numpy(aim).double().softmax(dim=1)
    wanted = (p * (p.log() - own.double().log_softmax(dim=1))).sum(dim=1).mean().item()
    assert run.method.faithful_loss(example).item() == pytest.approx(wanted, abs=1e-4)


def test_thresholds_read_a_cross_encoders_probabilities(judged):
    logits_of_all = read_arrays(judged.judgments)["scores"]
    low = float(1 / (1 + np.exp(-np.median(logits_of_all[np.isfinite(logits_of_all)]))))
    run = judged.taught("rocketqa", low=low, backfill=False)
    batch = _example(run, 0).batch
    ids, scores, positive = teacher.score_pool(run.services, batch.queries, batch.positives, 20)
    found = Judgments(judged.judgments)
    raw = found.scores(batch.queries, ids)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-raw)), rtol=1e-5)
    raw = found.scores(batch.queries, batch.positives[:, None])[:, 0]
    np.testing.assert_allclose(positive, 1 / (1 + np.exp(-raw)), rtol=1e-5)
    chosen = run.method.negatives(batch).ids
    kept = found.scores(batch.queries, chosen)[chosen >= 0]
    assert len(kept)
    assert (1 / (1 + np.exp(-kept)) < low).all()


SUITE = {
    "suite": "s",
    "datasets": {"scifact": None},
    "teacher": {"ranker": "./ranker"},
    "methods": {
        "percpos": None,
        "simans_faithful": {"method": "simans", "track": "faithful"},
        "inbatch": None,
    },
}


def test_judgments_are_an_input_of_the_rows_that_ask():
    layout = Layout(load(SUITE, "s.yaml"))
    dataset, (percpos, simans, inbatch) = layout.datasets["scifact"], layout.rows.values()
    assert layout.paths.judgments(dataset, percpos) == layout.paths.judgments(dataset, simans)
    assert layout.paths.judgments(dataset, inbatch) == []
    (file,) = layout.paths.judgments(dataset, percpos)
    assert layout.paths.inputs(dataset, percpos, [0])["judgments"] == [file]
    assert f"--judgments {file}" in layout.paths.options(dataset, percpos)
    assert json.loads(layout.judgments_settings())["ranker"] == "./ranker"
    notes = json.loads(layout.about.runs(dataset, percpos))["adaptations"]
    assert any("the cross-encoder ./ranker" in note for note in notes)
    assert any("read the cross-encoder's probabilities" in note for note in notes)
    assert not any("cosines" in note for note in notes)


@pytest.mark.parametrize(
    "row", [{"method": "gist"}, {"method": "simans", "track": "faithful", "refresh_steps": 9}]
)
def test_who_asks_about_other_documents_is_refused(row):
    with pytest.raises(
        UserError, match=r"s.yaml: methods.mine: this row asks the teacher about documents outside"
    ):
        load({**SUITE, "methods": {"mine": row}}, "s.yaml")
