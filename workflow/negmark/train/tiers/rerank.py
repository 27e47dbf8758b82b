"""The rerank tier: a cross-encoder is trained on (positive, negatives) and re-ranks the top of a first stage.

A query and a document are read as one text, so there are no vectors: a method chooses by ids, pools and the teacher,
all made by the bi-encoder before training, and in-batch documents are no negatives (each would be a pair of its own).
The cross-encoder is the suite's encoder with a linear head of one logit, as transformers builds it for the
architecture and drawn from the seed, or a ready cross-encoder (`rerank.model`). A pair is truncated to the tokens of a
query plus a document, or to the model's limit, the longer text first; prompts are for the bi-encoder only.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.seeds import torch_seed
from negmark.encode.architecture import readable, set_dropout
from negmark.encode.device import keep_freed_memory, resolve_dtype
from negmark.encode.encoder import batches
from negmark.encode.model_files import open_config, open_network, open_tokenizer
from negmark.encode.pretrained import find_model
from negmark.methods.types import NO_DOCUMENT, Batch, Negatives
from negmark.search.index import Hits, Searcher
from negmark.store import collection
from negmark.store.vectors import float32
from negmark.train.inputs import Materials
from negmark.train.tiers.protocol import Rows, Similarities

QUERIES_AT_A_TIME = 64
"""Queries whose pairs are tokenised together when a test split is ranked."""


def padding_tokenizer(model: Path) -> Any:
    """Return the tokenizer of a cross-encoder, which pads by the token that its config names, or else by its own.

    Where the network knows neither, as in many decoders, it is the token that ends a text. Raises `UserError` if there
    is none.
    """
    tokenizer, config = open_tokenizer(model), open_config(model).get_text_config()
    known = range(min(config.vocab_size, len(tokenizer)))
    ids = getattr(config, "pad_token_id", None), tokenizer.pad_token_id, tokenizer.eos_token_id
    padding = next((number for number in ids if number is not None and number in known), None)
    if padding is None:
        raise UserError(
            f"{model}: its tokenizer has no padding token and none that ends a text; add a pad_token to "
            "tokenizer_config.json"
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)
    return tokenizer


class PairTexts:
    """The texts of a dataset, joined to the pairs that a cross-encoder reads."""

    def __init__(self, dataset: Path, model: Path, length: int) -> None:
        self._tokenizer = padding_tokenizer(model)
        self._length = min(length, readable(model, self._tokenizer))
        self._documents, self._queries = collection.texts(dataset)

    def tokens(self, queries: Rows, documents: Rows) -> dict[str, list[list[int]]]:
        """Return the model's inputs for pairs [P], without padding."""
        texts = [self._queries[row] for row in queries], [self._documents[row] for row in documents]
        return dict(self._tokenizer(*texts, truncation=True, max_length=self._length))

    def padded(self, tokens: Mapping[str, list[list[int]]], rows: Rows) -> dict[str, torch.Tensor]:
        """Return the inputs of some pairs as tensors of one width."""
        chosen = {name: [values[row] for row in rows] for name, values in tokens.items()}
        return dict(self._tokenizer.pad(chosen, return_tensors="pt"))


class Ranker(nn.Module):
    """A cross-encoder over the rows of a dataset: queries [B] and documents [B, K] to logits [B, K] on the CPU."""

    def __init__(
        self,
        network: nn.Module,
        texts: PairTexts,
        precision: str = "auto",
        chunk_tokens: int = 1024,
        name: str = "",
    ) -> None:
        super().__init__()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        self.threads = 1
        self._texts, self._chunk_tokens, self._name = texts, chunk_tokens, name
        self._bfloat16 = resolve_dtype(precision) == "bfloat16"
        self._key, self._calls = (0, 0), 0

    def begin(self, seed: int, step: int) -> None:
        """Let seed and step decide dropout."""
        self._key, self._calls = (seed, step), 0

    def forward(self, queries: Rows, documents: Rows) -> torch.Tensor:
        """Return logits, 0 in empty places; without gradient also without dropout."""
        rows, columns = np.nonzero(documents != NO_DOCUMENT)
        if not len(rows):
            return torch.zeros(documents.shape)
        logits = self._score(queries[rows], documents[rows, columns])
        places = torch.from_numpy(rows), torch.from_numpy(columns)
        return torch.zeros(documents.shape).index_put(places, logits)

    def _score(self, queries: Rows, documents: Rows) -> torch.Tensor:
        """Return the logits [P] of pairs, scored in chunks of similar length."""
        tokens, training = self._texts.tokens(queries, documents), torch.is_grad_enabled()
        self.network.train(training)
        lengths = np.array([len(line) for line in tokens["input_ids"]])
        plan = list(batches(lengths, self._chunk_tokens))
        call, self._calls = self._calls, self._calls + training
        cards = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cards), ThreadPoolExecutor(self.threads) as pool:
            torch.manual_seed(torch_seed(self._key[0], "dropout", self._key[1], self._name, call))
            each = map if training else pool.map  # dropout must be drawn in order
            logits = torch.cat(list(each(lambda rows: self._chunk(tokens, rows, training), plan)))
        return logits[torch.from_numpy(np.argsort(np.concatenate(plan)))]

    def _chunk(self, tokens: Mapping[str, list[list[int]]], rows: Rows, training: bool) -> torch.Tensor:
        inputs = {name: value.to(self.device) for name, value in self._texts.padded(tokens, rows).items()}
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16)
        with torch.set_grad_enabled(training), autocast:  # both are per thread
            return self.network(**inputs).logits[:, 0].float().cpu()


class Logit(nn.Linear):
    """The last layer, in float32: bfloat16 has 8 bits, in which many documents of a query would tie."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [P, 1] of hidden states in any precision."""
        with torch.autocast(hidden.device.type, enabled=False):
            return super().forward(hidden.float())


def build(
    encoder: Mapping[str, Any],
    budget: Mapping[str, Any],
    dropout: float | None = None,
    key: str = "rerank.model",
) -> tuple[nn.Module, bool]:
    """Return the cross-encoder of a suite and whether its head must still be drawn.

    `key` is what names a ready one; raises `UserError` if that isn't a cross-encoder with one label.
    """
    keep_freed_memory()
    model = model_folder(encoder, budget, key)
    labels = open_config(model).num_labels
    if budget["model"] and labels != 1:
        raise UserError(f"{key}: {budget['model']} has {labels} labels; a cross-encoder with one is needed")
    config = open_config(model, num_labels=1)
    set_dropout(config, dropout, "rerank.dropout")
    # a decoder takes the logit of the last token before the padding
    config.get_text_config().pad_token_id = padding_tokenizer(model).pad_token_id
    network = open_network(AutoModelForSequenceClassification, model, config=config, dtype=torch.float32)
    for module in network.modules():
        if isinstance(module, nn.Linear) and module.out_features == 1:
            module.__class__ = Logit
    return network, not budget["model"]


def model_folder(encoder: Mapping[str, Any], budget: Mapping[str, Any], key: str = "rerank.model") -> Path:
    """Return the folder of what the cross-encoder starts from."""
    return find_model(budget["model"], key) if budget["model"] else find_model(encoder["model"])


def draw_head(network: Any, seed: int, name: str) -> None:
    """Re-initialise the linear layers after the transformer, normally distributed like the model's own weights."""
    base = set(getattr(network, network.base_model_prefix).modules())
    generator = torch.Generator().manual_seed(torch_seed(seed, "head", name))
    for module in network.modules():
        if isinstance(module, nn.Linear) and module not in base:
            scale = getattr(network.config, "initializer_range", 0.02)
            nn.init.normal_(module.weight, std=scale, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def open_encoder(spec: Mapping[str, Any], materials: Materials) -> "CrossEncoder":
    """Return the untrained cross-encoder of a suite with the texts of a dataset."""
    return CrossEncoder(spec, materials)


class CrossEncoder(nn.Module):
    """Scores pairs with a model that is trained: a `protocol.TrainedEncoder` without vectors of its own."""

    pairs, writes, document_version = True, True, 0
    trained = frozenset({"query", "document"})

    def __init__(self, spec: Mapping[str, Any], materials: Materials) -> None:
        super().__init__()
        self._spec, self._materials = spec, materials
        encoder, budget = spec["encoder"], spec["training"]
        length = encoder["query_length"] + encoder["document_length"]
        self._texts = PairTexts(materials.dataset, model_folder(encoder, budget), length)
        self.ranker = self._open("relevance")
        self._second: list[Ranker] = []  # in a list, so that its parameters don't count as this encoder's

    def _open(self, name: str, anew: bool = False) -> Ranker:
        budget, seed = self._spec["training"], self._spec["seed"]
        network, headless = build(self._spec["encoder"], budget, budget["dropout"])
        if headless or anew:
            draw_head(network, seed, name)
        return Ranker(network, self._texts, budget["precision"], budget["chunk_tokens"], name)

    def batch(self, step: int, queries: Rows, positives: Rows) -> Batch:
        """Return the batch with vectors of no columns."""
        return Batch(step, queries, positives, *(torch.empty(len(queries), 0) for _ in range(2)))

    def similarities(self, batch: Batch, negatives: Negatives) -> Similarities:
        """Return logits of the batch's pairs. Raises `ValueError` if a method gives anything but documents."""
        if negatives.ids is None or negatives.vectors is not None or negatives.in_batch is not None:
            raise ValueError(
                "in the rerank tier a method gives documents alone; declare what it needs_vectors for"
            )
        size = len(batch.queries)
        logits = self.ranker(batch.queries, np.column_stack([batch.positives, negatives.ids]))
        none = torch.empty(*negatives.ids.shape, 0)
        return Similarities(logits[:, 0], torch.zeros(size, size), logits[:, 1:], none)

    def rankers(self) -> tuple[Ranker, Ranker]:
        """Return the model and a second one from the same start, whose head is drawn separately."""
        self._second.append(self._open("second", anew=True))
        return self.ranker, self._second[-1]

    def queries(self, rows: Rows) -> NoReturn:
        """Refuse: there are no vectors."""
        _refuse()

    def documents(self, rows: Rows) -> NoReturn:
        """Refuse: there are no vectors."""
        _refuse()

    def all_documents(self) -> NoReturn:
        """Refuse: there are no vectors."""
        _refuse()

    def still(self, side: str, rows: Rows) -> NoReturn:
        """Refuse: there are no vectors."""
        _refuse()

    def moment(self, state: Mapping[str, torch.Tensor] | None = None) -> NoReturn:
        """Refuse: there are no vectors."""
        _refuse()

    def live(self) -> NoReturn:
        """Refuse: there are no vectors, and so no momentum copy of what they come from."""
        _refuse()

    def by_copy(self, side: str, rows: Rows, parameters: Mapping[str, torch.Tensor]) -> NoReturn:
        """Refuse, as above."""
        _refuse()

    def token_vectors(self, side: str, rows: Rows) -> NoReturn:
        """Refuse: a text alone has no vector."""
        _refuse()

    def from_tokens(self, side: str, rows: Rows, shift: torch.Tensor, still: bool) -> NoReturn:
        """Refuse, as above."""
        _refuse()

    def warmup_queries(self, rows: Rows) -> torch.Tensor:
        """Return the bi-encoder's vectors of queries."""
        return torch.from_numpy(float32(self._materials.queries[rows]))

    def warmup_documents(self, rows: Rows) -> torch.Tensor:
        """Return the bi-encoder's vectors of documents."""
        return torch.from_numpy(float32(self._materials.documents[rows]))

    def load(self, path: Path) -> None:
        """Start from the cross-encoder of another run."""
        load_network(self.ranker.network, path)

    def freeze(self, trained: frozenset[str]) -> None:
        """Do nothing: there is one tower."""

    def begin(self, seed: int, step: int) -> None:
        """Let seed and step decide dropout, so that a resumed run draws the same."""
        for ranker in (self.ranker, *self._second):
            ranker.begin(seed, step)

    def prepared(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser as it is: gradients aren't scaled here."""
        return optimizer

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients."""
        loss.backward()

    def stepped(self) -> None:
        """Do nothing: nothing is stored that changes with the weights."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the model that ranks."""
        return {name: value.cpu() for name, value in self.ranker.network.state_dict().items()}


def _refuse() -> NoReturn:
    raise UserError("a cross-encoder has no vectors: this method can't run in the rerank tier")


def load_network(network: nn.Module, path: Path) -> None:
    """Load a run's weights into a cross-encoder."""
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:
        raise UserError(
            f"{path}: no cross-encoder can be read from it ({error}); delete it and run again"
        ) from error


def searcher(
    about: Mapping[str, Any], model: Path | None, dataset: Path, first: Searcher, place: Rows, threads: int
) -> "Reranker":
    """Return a run's cross-encoder behind a first stage; `place` [N] orders documents of equal score, as a run does.

    Without a `model` it is the suite's cross-encoder as it comes.
    """
    encoder, budget = about["encoder"], about["ranker"]
    network, _ = build(encoder, budget)
    if model is not None:
        load_network(network, model)
    length = encoder["query_length"] + encoder["document_length"]
    texts = PairTexts(dataset, model_folder(encoder, budget), length)
    ranker = Ranker(network, texts, budget["precision"], budget["chunk_tokens"])
    if ranker.device.type == "cpu":  # chunks in parallel, one core each, as in `Encoder.encode`
        torch.set_num_threads(1)
        ranker.threads = threads
    return Reranker(first, ranker, about["first_stage"]["depth"], place)


class Reranker:
    """Re-ranks the top of another searcher: an `index.Searcher`.

    Only the best `reranked` documents of the first stage change places; the rest follow in its order.
    """

    def __init__(self, first: Searcher, ranker: nn.Module, reranked: int, place: Rows) -> None:
        self._first, self._ranker, self._reranked, self._place = first, ranker, reranked, place

    @property
    def documents(self) -> int:
        """Documents that are searched."""
        return self._first.documents

    def search(self, queries: Rows, depth: int) -> Hits:
        """Return the first stage's top `depth`, the best of them by logit; below, scores fall by 1 per document."""
        documents, scores = self._sorted(*self._first.search(queries, depth))
        top = documents[:, : self._reranked]
        logits = np.where(top < 0, -np.inf, self._logits(queries, top)).astype(np.float32)
        lowest = np.where(np.isneginf(logits), np.inf, logits).min(axis=1, initial=0, keepdims=True)
        below = lowest - 1 - np.arange(documents.shape[1] - top.shape[1], dtype=np.float32)
        below = np.where(np.isneginf(scores[:, self._reranked :]), -np.inf, below)
        return self._sorted(documents, np.concatenate([logits, below], axis=1).astype(np.float32))

    def score_pairs(self, queries: Rows, documents: Rows) -> NDArray[np.float32]:
        """Return the logits of pairs."""
        return self._logits(queries, documents[:, None])[:, 0]

    @torch.no_grad()
    def _logits(self, queries: Rows, documents: Rows) -> NDArray[np.float32]:
        logits = np.empty(documents.shape, dtype=np.float32)
        for start in stage.progress(range(0, len(queries), QUERIES_AT_A_TIME), "re-ranking"):
            part = slice(start, start + QUERIES_AT_A_TIME)
            logits[part] = self._ranker(queries[part], documents[part]).numpy()
        return logits

    def _sorted(self, documents: Rows, scores: NDArray[np.float32]) -> Hits:
        order = np.lexsort((-self._place[documents], -scores), axis=1)
        return np.take_along_axis(documents, order, axis=1), np.take_along_axis(scores, order, axis=1)
