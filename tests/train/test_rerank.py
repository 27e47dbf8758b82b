"""The rerank tier: logits are the model's, the loss is that of pairs, and the first stage bounds what changes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from killed_runs import killed, same
from negmark.core.errors import UserError
from negmark.evaluate import evaluate
from negmark.evaluate.metrics import Evaluator
from negmark.evaluate.ranking import TestSplit, means, measure, rank
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.methods.types import NO_DOCUMENT, Negatives
from negmark.store import collection
from negmark.store.ledger import read_ledger
from negmark.store.pool import CandidatePool
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.settings import RerankSettings
from negmark.train.inputs import load_materials
from negmark.train.run import set_up
from negmark.train.step import _example, one_step
from negmark.train.tiers import rerank
from texts import Texts

TRAINING = {
    **RerankSettings().model_dump(exclude={"first_stage", "depth"}),
    "steps": 6, "batch_size": 4, "negatives": 3, "learning_rate": 1e-2, "checkpoint_steps": 2,
    "precision": "float32", "chunk_tokens": 128,
}  # fmt: skip


def stands(method: str, track: str = "controlled") -> bool:
    kind = registry.available()[method]
    return not kind.vectors_needed(kind.Params(), track)


ALLOWED = [name for name in sorted(registry.available()) if stands(name)]


class Pairs(Texts):
    """The made dataset with its texts, in the rerank tier."""

    def spec(self, method="dense_uniform", seed=0, row=None, track="controlled", **training):
        spec = super().spec(method, seed, row, track)
        return {**spec, "tier": "rerank", "training": {**TRAINING, **training}}

    def about(self, **first):
        facts = {"dataset": "made", "row": "dense_uniform", "title": "x", "track": "controlled"}
        facts |= {"metrics": ["nDCG@10", "R@100"]}
        ranker = {"model": None, "precision": "float32", "chunk_tokens": 64}
        stage = {"name": "bm25_search", "depth": 100, "k1": 1.2, "b": 0.75, **first}
        return {**facts, "tier": "rerank", "encoder": self.settings, "ranker": ranker, "first_stage": stage}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"))


def logits_by_hand(pairs, network, queries, documents):
    """One pair at a time, padded nowhere, through the model as transformers builds it."""
    tokenizer = AutoTokenizer.from_pretrained(pairs.model)
    texts, asked = collection.texts(pairs.dataset)
    model = AutoModelForSequenceClassification.from_pretrained(pairs.model, num_labels=1).eval()
    model.load_state_dict(network.state_dict())
    with torch.no_grad():
        return torch.tensor(
            [
                [
                    model(
                        **tokenizer(
                            asked[query], texts[document], truncation=True, max_length=32, return_tensors="pt"
                        )
                    ).logits.item()
                    for document in row
                ]
                for query, row in zip(queries, documents, strict=True)
            ]
        )


@pytest.mark.parametrize("threads", [1, 3])
def test_logits_are_those_of_the_model_in_any_chunk(pairs, threads):
    ranker = pairs.run("random", chunk_tokens=40).encoder.ranker
    ranker.threads = threads
    queries, documents = np.array([5, 0, 61]), np.array([[7, 80, 7], [0, 3, 11], [61, 2, 1]])
    with torch.no_grad():
        found = ranker(queries, documents)
    torch.testing.assert_close(
        found, logits_by_hand(pairs, ranker.network, queries, documents), atol=1e-6, rtol=1e-5
    )
    documents[1, 2] = documents[0, 0] = NO_DOCUMENT
    with torch.no_grad():
        short = ranker(queries, documents)
    assert short[1, 2] == short[0, 0] == 0
    torch.testing.assert_close(short[2], found[2])


def test_half_precision_leaves_the_logits_apart(pairs):
    queries, documents = np.zeros(1, np.int64), np.arange(90)[None]
    with torch.no_grad():
        half, full = (
            pairs.run("random", precision=precision).encoder.ranker(queries, documents)[0]
            for precision in ("bfloat16", "float32")
        )
    torch.testing.assert_close(half, full, atol=1e-2, rtol=0.1)
    assert not torch.equal(half, half.bfloat16().float())


def test_the_loss_is_the_softmax_over_positive_and_given_negatives(pairs):
    run = pairs.run("random", dropout=0.0)
    run.encoder.begin(0, 0)
    example = _example(run, 0)
    batch, ids = example.batch, example.negatives.ids
    logits = logits_by_hand(
        pairs, run.encoder.ranker.network, batch.queries, np.column_stack([batch.positives, ids])
    ).double()
    expected = (logits.exp().sum(dim=1) / logits[:, 0].exp()).log().mean()
    assert run.method.loss(example).item() == pytest.approx(expected.item(), abs=1e-6)
    assert not example.scores.in_batch_mask.any()
    assert run.services.counters.pairs == 4 * (1 + 3)
    assert run.services.counters.query_vectors == run.services.counters.document_vectors == 0


def test_the_gradient_reaches_the_head_and_the_encoder(pairs):
    run = pairs.run("random")
    run.encoder.begin(0, 0)
    run.encoder.backward(run.method.loss(_example(run, 0)))
    gradients = {name: value.grad.abs().max() for name, value in run.encoder.named_parameters()}
    assert gradients["ranker.network.classifier.weight"] > 1e-4
    assert gradients["ranker.network.bert.embeddings.word_embeddings.weight"] > 1e-7
    assert gradients["ranker.network.bert.encoder.layer.0.attention.self.value.weight"] > 1e-7


def test_head_and_dropout_follow_from_the_seed_and_the_body_is_the_encoder(pairs):
    materials = load_materials(pairs.dataset, pairs.vectors, {})
    one, same, other = (set_up(pairs.spec("random", seed=seed), materials).encoder for seed in (0, 0, 1))
    heads = [encoder.weights()["classifier.weight"] for encoder in (one, same, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    start = load_file(pairs.model / "model.safetensors")
    found = one.weights()
    assert all(torch.equal(found[f"bert.{name}"], value) for name, value in start.items())

    rows = np.arange(3), np.arange(6).reshape(3, 2)

    def logits(step):
        one.begin(0, step)
        torch.rand(2)
        return one.ranker(*rows).detach()

    assert torch.equal(logits(0), logits(0))
    assert not torch.equal(logits(0), logits(1))


MECHANISMS = {"random", "simans", "cet", "cet/faithful"}
"""A method of each kind: without a pool, from one, with networks of its own."""


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[] if name in MECHANISMS else pytest.mark.slow)
        for name in (*ALLOWED, "cet/faithful", "asl/faithful", "large_loss/faithful")
    ],
)
def test_every_allowed_method_trains_and_a_killed_run_ends_with_the_same_bytes(
    pairs, tmp_path, stop_at, method
):
    name, _, track = method.partition("/")
    if registry.available()[name].pools & {"bm25", "given"}:
        pytest.skip("the made dataset has no BM25 pool, and no file of given negatives")
    spec = pairs.spec(name, track=track or "controlled")
    whole = pairs.train(tmp_path / "whole", spec)
    start = load_file(pairs.model / "model.safetensors")
    trained = load_file(whole / "model.safetensors")
    moved = any(not torch.equal(trained[f"bert.{name}"], value) for name, value in start.items())
    assert moved == bool(
        len(read_ledger(whole / "negatives.parquet"))
    )  # percpos finds none in vectors this alike

    killed(pairs, stop_at, tmp_path / "broken", spec, at=5)
    stop_at()
    broken = pairs.train(tmp_path / "broken", spec)
    assert json.loads((broken / "manifest.json").read_text())["resumed_at"] == 4
    assert same(whole, broken)


def suite(methods, **keys):
    datasets = {"made": {"source": "scifact"}}
    return load({"suite": "x", "datasets": datasets, "methods": methods, **keys}, "x.yaml")


def test_a_method_that_needs_vectors_is_refused_in_one_line():
    refused = sorted(set(registry.available()) - set(ALLOWED))
    assert refused == [
        "adore", "amcl", "ance", "ance_tele", "b3", "buir", "cde", "claps", "clusterns", "conan", "dcl", "debiased",
        "feature_transformation", "generated", "generated_mixed", "gist", "gte", "hardness", "hasa", "hcl", "inbatch",
        "kalm", "mochi", "moco_dual_view", "ngame", "one_source", "partial_fc", "self_guided", "spread_out", "tas_b",
        "trisampler", "unpg", "w_mse",
    ]  # fmt: skip
    for name in refused:
        kind = registry.available()[name]
        faithful = {"track": "faithful"} if kind.refusal(kind.Params(), "controlled") else {}
        with pytest.raises(UserError) as told:
            suite({"row": {"method": name, "tier": "rerank", **faithful}})
        assert str(told.value).startswith(f"x.yaml: methods.row.tier: this row of {name} needs ")
        assert "\n" not in str(told.value)
    with pytest.raises(UserError, match="needs a corpus encoded anew, which a cross-encoder doesn't have"):
        suite({"simans": {"tier": "rerank", "refresh_steps": 10}})
    with pytest.raises(UserError, match="needs the vectors of its paper's recipe"):
        suite({"star": {"track": "faithful"}}, tier="rerank")
    assert suite(
        {"cet": {"track": "faithful"}, **dict.fromkeys(filter(_stands_by_itself, ALLOWED))}, tier="rerank"
    )


def _stands_by_itself(name: str) -> bool:
    """Whether a method may be a row of the controlled track without a file or a teacher."""
    kind = registry.available()[name]
    params = kind.Params()
    asks = kind.refusal(params, "controlled") or kind.needs_teacher(params, "controlled")
    return name not in ("cet", "given", "rlhn") and not asks


@pytest.mark.parametrize(
    "given",
    [Negatives(), Negatives(ids=np.zeros((4, 3), np.int64), in_batch=torch.ones(4, 4, dtype=torch.bool))],
)
def test_a_method_that_says_nothing_is_refused_while_it_runs(pairs, given):
    run = pairs.run("random")
    run.method.negatives = lambda batch: given
    with pytest.raises(ValueError, match="a method gives documents alone"):
        one_step(run, 0, keep_scores=False)
    for ask in (run.services.snapshot, lambda: run.services.search(torch.ones(1, 8), 3)):
        with pytest.raises(UserError, match="a cross-encoder has no vectors"):
            ask()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rerank": {"depht": 5}}, "rerank.depht: unknown key; did you mean 'depth'"),
        ({"rerank": {"depth": 101}}, "rerank.depth: input should be less than or equal to 100"),
        (
            {"rerank": {"first_stage": "dense"}},
            "rerank.first_stage: input should be 'untrained' or 'bm25_search'",
        ),
        ({"rerank": {"precision": "float16"}}, "rerank.precision"),
        ({"tier": "ranker"}, "tier: unknown tier 'ranker'; "),
    ],
)
def test_mistakes_in_the_config_are_told(keys, message):
    with pytest.raises(UserError, match=message):
        suite({"random": None}, **keys)


def test_the_row_names_its_first_stage_and_what_differs():
    layout = Layout(
        suite(
            {"random": None, "cet": {"track": "faithful"}}, tier="rerank", rerank={"depth": 50, "threads": 2}
        )
    )
    about = json.loads(layout.about.runs(layout.datasets["made"], layout.rows["random"]))
    assert about["first_stage"] == {"name": "bm25_search", "depth": 50, "k1": 1.2, "b": 0.75}
    assert about["start"].endswith("with a new scoring head, and re-rank the top 50 of BM25 search")
    assert about["adaptations"][-1].startswith("a cross-encoder learns by the listwise softmax")
    told = json.loads(layout.about.runs(layout.datasets["made"], layout.rows["cet"]))["adaptations"]
    assert not any("bi-encoder" in line for line in told)
    training = layout.specs.run(layout.datasets["made"], layout.rows["random"])["training"]
    assert not {"depth", "first_stage"} & training.keys()
    assert layout.rows["random"].threads == 2


def test_a_cross_encoder_of_its_own_keeps_its_head_and_needs_one_label(pairs, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(pairs.model, num_labels=1)
    for labels in (1, 3):
        folder = tmp_path / str(labels)
        AutoModelForSequenceClassification.from_pretrained(pairs.model, num_labels=labels).save_pretrained(
            folder
        )
        AutoTokenizer.from_pretrained(pairs.model).save_pretrained(folder)
    model.save_pretrained(tmp_path / "1")
    run = pairs.run("cet", model=str(tmp_path / "1"))
    assert torch.equal(run.encoder.weights()["classifier.weight"], model.classifier.weight)
    assert not torch.equal(run.method.selection.network.classifier.weight, model.classifier.weight)
    with pytest.raises(
        UserError, match=r"rerank\.model: .* has 3 labels; a cross-encoder with one is needed"
    ):
        pairs.run("random", model=str(tmp_path / "3"))
    with pytest.raises(UserError, match=r"rerank\.model: .* has no config"):
        pairs.run("random", model=str(tmp_path))


class Given:
    """A first stage with a ranking made by hand."""

    def __init__(self, ids, scores):
        self._found, self.documents = (np.array(ids), np.array(scores, dtype=np.float32)), 6

    def search(self, queries, depth):
        return tuple(part[:, :depth] for part in self._found)


def test_the_top_is_ordered_by_logit_and_the_rest_as_before():
    first = Given([[4, 1, 0, 3, 2], [5, 2, -1, -1, -1]], [[9, 8, 7, 6, 5], [2, 1, *[-np.inf] * 3]])
    logits = {4: -3.0, 1: 2.0, 0: -1.0, 5: 0.5, 2: 4.0}

    class Ranker(torch.nn.Module):
        def forward(self, queries, documents):
            return torch.tensor([[logits.get(int(each), 0.0) for each in row] for row in documents])

    found, scores = rerank.Reranker(first, Ranker(), 3, np.arange(6)).search(np.arange(2), 5)
    assert found.tolist()[0] == [1, 0, 4, 3, 2]
    assert scores.tolist()[0] == [2.0, -1.0, -3.0, -4.0, -5.0]
    assert found.tolist()[1][:2] == [2, 5]
    assert scores.tolist()[1] == [4.0, 0.5, *[-np.inf] * 3]


@pytest.mark.parametrize("depth", [100, 5])
@pytest.mark.parametrize("name", ["bm25_search", "untrained"])
def test_recall_at_100_is_the_first_stages(pairs, world, tmp_path, name, depth):
    run = pairs.train(tmp_path, pairs.spec("dense_uniform"))
    about = pairs.about(name=name, depth=depth)
    evaluate.main([run / "metrics.json"], json.dumps(about), world.dataset, world.vectors)
    split = TestSplit(world.dataset)
    vectors = None if name == "bm25_search" else world.vectors
    first = evaluate._searcher({"params": {"k1": 1.2, "b": 0.75}}, world.dataset, vectors, None, split, 1)
    ranking = rank(first, split)
    before = means(measure(split, ranking, Evaluator(split.qrels)))
    told = json.loads((run / "metrics.json").read_text())
    assert told["first_stage"]["name"] == name
    assert told["slices"]["all"]["R@100"] == before["all"]["R@100"] > 0
    model = run / "model.safetensors"
    again = rank(evaluate._searcher(about, world.dataset, world.vectors, model, split, 2), split)
    for query, documents in ranking.items():
        assert set(again[query]) == set(documents)
        assert list(again[query])[depth:] == list(documents)[depth:]
    assert any(list(again[query]) != list(documents) for query, documents in ranking.items())


def test_evaluation_reads_the_trained_weights(pairs, tmp_path):
    run = pairs.train(tmp_path, pairs.spec("random", steps=3))
    place = np.arange(pairs.documents)
    searcher = rerank.searcher(pairs.about(), run / "model.safetensors", pairs.dataset, None, place, 1)
    live = pairs.run("random", start=run / "model.safetensors").encoder.ranker
    with torch.no_grad():
        wanted = live(np.array([60, 61]), np.array([[3], [4]]))[:, 0].numpy()
    np.testing.assert_allclose(searcher.score_pairs(np.array([60, 61]), np.array([3, 4])), wanted, atol=1e-6)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"no cross-encoder can be read from it .*run again"):
        pairs.run("random", start=tmp_path / "model.safetensors")


def cet(pairs, track, **params):
    spec = {**pairs.spec("cet", track=track), "params": params}
    return set_up(spec, load_materials(pairs.dataset, pairs.vectors, {"dense": CandidatePool(pairs.pool)}))


@pytest.mark.parametrize("track", ["controlled", "faithful"])
def test_both_of_cets_models_move_and_one_is_the_runs(pairs, track):
    run = cet(pairs, track)
    models = run.encoder.ranker, run.method.selection
    assert not torch.equal(*(model.network.classifier.weight for model in models))
    bodies = [model.network.bert.state_dict() for model in models]
    assert all(torch.equal(value, bodies[1][name]) for name, value in bodies[0].items())
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    for step in range(2):
        one_step(run, step, keep_scores=False)
    for model, start in zip(models, before, strict=True):
        moved = {
            name.split(".")[1]
            for name, value in model.state_dict().items()
            if not torch.equal(value, start[name])
        }
        assert moved == {"bert", "classifier"}
    saved = run.encoder.weights()
    assert all(torch.equal(saved[name], value) for name, value in models[0].network.state_dict().items())
    assert {name.partition(".")[0] for name in saved} == {"bert", "classifier"}
    assert run.services.counters.pairs == 2 * 4 * 4
    assert run.services.counters.network_forwards == 2 * 4 * (3 + 4 + 3)


def test_cets_losses_are_the_papers_with_weights_from_the_other_model(pairs):
    """1 + exp(s / T) of the other model's logit, by hand, with no gradient across."""
    run = cet(pairs, "faithful", temperature=2.0)
    run.encoder.begin(0, 0)
    for model in (run.encoder.ranker, run.method.selection):
        for parameter in model.parameters():
            if parameter.dim() > 1:  # at the start all logits are nearly one number
                parameter.data.mul_(15)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    example = _example(run, 0)
    documents = np.column_stack([example.batch.positives, example.negatives.ids])
    relevance, selection = (
        logits_by_hand(pairs, model.network, example.batch.queries, documents).double()
        for model in (run.encoder.ranker, run.method.selection)
    )
    assert min(selection[:, 1:].std(), relevance.std()) > 0.01
    torch.testing.assert_close(
        example.scores.weights.double(), 1 + (selection[:, 1:] / 2).exp(), atol=1e-5, rtol=1e-5
    )
    expected = sum(
        ((1 + (other[:, 1:] / 2).exp()) * (1 + (own[:, 1:] - own[:, :1]).exp()).log()).mean()
        for own, other in ((relevance, selection), (selection, relevance))
    )
    loss = run.method.faithful_loss(example)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    both = [list(model.parameters()) for model in (run.encoder.ranker, run.method.selection)]
    part = run.method.selection_loss(example)
    found = torch.autograd.grad(part, [*both[0], *both[1]], allow_unused=True)
    assert all(each is None for each in found[: len(both[0])])
    assert any(each is not None and each.abs().max() > 0 for each in found[len(both[0]) :])


def test_weights_are_taken_without_dropout(pairs):
    run = cet(pairs, "faithful")
    run.encoder.begin(0, 0)
    example = _example(run, 0)
    logits = logits_by_hand(pairs, run.encoder.ranker.network, example.batch.queries, example.negatives.ids)
    torch.testing.assert_close(run.method._relevance(example), logits, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(example.scores.negatives.detach(), logits, atol=1e-6)


def test_the_contract_says_by_default_that_a_bi_encoders_recipe_is_none_of_a_ranker():
    assert Method.vectors_needed(None, "controlled") == ""
    assert Method.vectors_needed(None, "faithful") == "the vectors of its paper's recipe"
