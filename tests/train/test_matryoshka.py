"""The loss of first dimensions: a value by hand, sentence-transformers' own loss, and what is refused."""

import math

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from negmark.core.errors import UserError
from negmark.methods.inbatch import InBatch
from negmark.methods.types import Batch, Negatives, Scores, Step
from negmark.suite.checks import load
from negmark.train import matryoshka

SUITE = {
    "suite": "s", "datasets": {"scifact": None}, "tier": "static", "methods": {"random": None, "inbatch": None},
    "static": {"matryoshka": [384, 64]},
}  # fmt: skip


class Objective:
    """The shared loss, which asks nothing of a method."""

    loss = InBatch.loss


def step_of(
    queries: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, temperature: float
) -> Step:
    """A step with whole vectors of length 1; every other query's positive is a negative, and each has its own."""
    size = len(queries)
    rows = np.arange(size)
    return Step(
        Batch(0, rows, rows, queries, positives),
        Negatives(),
        negatives,
        Scores(
            positive=(queries * positives).sum(1),
            in_batch=queries @ positives.T,
            in_batch_mask=~torch.eye(size, dtype=torch.bool),
            negatives=torch.einsum("bd,bmd->bm", queries, negatives),
            negatives_mask=torch.ones(negatives.shape[:2], dtype=torch.bool),
            weights=None,
        ),
        temperature,
    )


def test_two_dimensions_by_hand() -> None:
    """One query (.6, .8), its positive (1, 0) and a negative (0, 1).

    By both dimensions the scores are .6 and .8: a loss of log(1 + e^.2). By the first alone they are 1 and, as nothing
    is left of (0, 1), 0: log(1 + e^-1).
    """
    query, positive = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]])
    example = step_of(query, positive, torch.tensor([[[0.0, 1.0]]]), 1.0)
    found = matryoshka.loss(Objective(), example, [2, 1])  # type: ignore[arg-type]
    assert found.item() == pytest.approx(math.log1p(math.exp(0.2)) + math.log1p(math.exp(-1)), abs=1e-6)


def test_the_value_and_the_gradient_are_those_of_sentence_transformers() -> None:
    """Its MatryoshkaLoss around its ranking loss, whose scale is 1 / temperature, on the same vectors."""
    words = {word: row for row, word in enumerate("abcdef")}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    rows = torch.randn(len(words), 8, generator=torch.Generator().manual_seed(0))
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=rows.clone())], device="cpu"
    )
    texts = [["a", "b", "c"], ["d", "e", "f"]]
    theirs = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model, scale=20.0), [8, 4, 2])
    wanted = theirs([model.preprocess(part) for part in texts], None)
    wanted.backward()
    mine = rows.clone().requires_grad_()
    queries, positives = (torch.nn.functional.normalize(part, dim=1) for part in (mine[:3], mine[3:]))
    found = matryoshka.loss(Objective(), step_of(queries, positives, torch.empty(3, 0, 8), 1 / 20), [8, 4, 2])  # type: ignore[arg-type]
    found.backward()
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)
    torch.testing.assert_close(mine.grad, model[0].embedding.weight.grad, atol=1e-5, rtol=1e-4)


def test_more_dimensions_than_there_are_are_refused() -> None:
    vectors = np.zeros((3, 8), np.float32)
    assert matryoshka.checked([8, 2], vectors) == (8, 2)
    assert matryoshka.checked([], vectors) == ()
    with pytest.raises(UserError, match="matryoshka: 9 is more than the 8 dimensions"):
        matryoshka.checked([4, 9], vectors)


def test_a_suite_without_it_is_what_it_was() -> None:
    plain = load({**SUITE, "static": {}}, "f")
    assert "matryoshka" not in plain.static.model_dump()
    assert "lora" not in plain.finetune.model_dump()
    assert load(SUITE, "f").static.model_dump()["matryoshka"] == [384, 64]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"static": {"matryoshka": [64, 64]}},
            "static.matryoshka: each dimension is a loss of its own: list it once",
        ),
        ({"static": {"matryoshka": [0]}}, "static.matryoshka.0: input should be greater than or equal to 1"),
        (
            {"methods": {"star": {"track": "faithful"}}},
            "methods.star: it has a loss of its own, and static.matryoshka",
        ),
        ({"methods": {"hcl": None}}, "methods.hcl: it has a loss of its own"),
        (
            {"tier": "finetune", "finetune": {"matryoshka": [64]}, "encoder": {"similarity": "dot"}},
            "finetune.matryoshka: the first dimensions are compared by cosine",
        ),
        ({"finetune": {"lora": {"rang": 4}}}, "finetune.lora.rang: unknown key; did you mean 'rank'?"),
    ],
)
def test_a_mistake_is_said_in_one_line(changes: dict, said: str) -> None:
    with pytest.raises(UserError) as error:
        load({**SUITE, **changes}, "f")
    assert said in str(error.value)
