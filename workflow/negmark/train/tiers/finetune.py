"""The finetune tier: the whole bi-encoder is trained, and methods see the same vectors as in any other tier.

Texts go through a transformer in chunks of similar length. Only the transformer works on the accelerator;
vectors come back to the CPU, where methods choose and losses are computed on some hundred vectors a step.

Large batches: with `chunk_gradients` a batch is encoded without gradient, the loss gives the gradient of every
vector, and each chunk is encoded a second time to backpropagate it (gradient caching, Gao et al. 2021,
arXiv 2101.06983): memory is that of one chunk, the gradient that of the whole batch.

Several processes: each encodes its share of the chunks, the vectors are gathered, and every process computes
the loss of the joined batch. The gradients of a process reach its own share alone, so their sum over
processes is the gradient that one process has.
"""

import copy
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call

from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.core.seeds import torch_seed
from negmark.encode.architecture import open_encoder as open_network
from negmark.encode.architecture import width
from negmark.encode.device import keep_freed_memory, resolve_dtype
from negmark.encode.encoder import Encoder, batches
from negmark.encode.head import Head
from negmark.encode.model_files import open_tokenizer
from negmark.encode.pretrained import find_model
from negmark.encode.recipe import recipe_of
from negmark.encode.tokens import Texts, Tokens, tokens_of
from negmark.store import collection
from negmark.store.auxiliary import AUXILIARY
from negmark.store.vectors import Vectors, float32
from negmark.train.inputs import Materials
from negmark.train.tiers import lora
from negmark.train.tiers.protocol import BiEncoder, Rows, StoredMoment

SHARED = "both"
SIDES = ("query", "document")
ACCELERATE_NAMES = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class Tower(nn.Module):
    """A transformer and what its folder puts behind it, both trained: token ids to vectors."""

    def __init__(self, model: nn.Module, head: Head, padding: int) -> None:
        super().__init__()
        self.model, self.head, self.padding = model, head, padding

    def forward(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] in float32."""
        ids, mask = self.inputs(tokens, rows)
        return self.pooled(self.model(input_ids=ids, attention_mask=mask), mask, tokens.left_out)

    def moved(self, tokens: Tokens, rows: Rows, shift: torch.Tensor) -> torch.Tensor:
        """Return the same of texts whose tokens' input embeddings are moved by `shift` [n, D], a token a row."""
        ids, mask = self.inputs(tokens, rows)
        embedded = self.model.get_input_embeddings()(ids)  # type: ignore[operator]
        held = mask.bool().unsqueeze(2)
        embedded = embedded + torch.zeros_like(embedded).masked_scatter(held, shift.to(embedded))
        return self.pooled(self.model(inputs_embeds=embedded, attention_mask=mask), mask, tokens.left_out)

    def inputs(self, tokens: Tokens, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return padded token ids and their mask [R, T], where the model is."""
        device = next(self.model.parameters()).device
        ids, mask = (torch.from_numpy(part).to(device) for part in tokens.padded(rows, self.padding))
        return ids, mask

    def pooled(self, output: Any, mask: torch.Tensor, left_out: int) -> torch.Tensor:
        """Return vectors of the model's output, in float32."""
        vectors: torch.Tensor = self.head(output.last_hidden_state, mask, left_out)
        return vectors


def load_tower(
    model: Path,
    similarity: str,
    dropout: float | None = None,
    adapters: Mapping[str, Any] | None = None,
) -> Tower:
    """Open a model folder as a tower, ready to train; `dropout` None keeps what its config says.

    With `adapters`, the settings of `finetune.lora`, they are trained instead of the transformer's own weights.
    """
    keep_freed_memory()
    padding = open_tokenizer(model).pad_token_id or 0
    network = open_network(model, dropout=dropout)
    for name, parameter in network.named_parameters():
        if name.startswith("pooler."):  # unused by the pooling here, so no gradient would reach it
            parameter.requires_grad_(False)
    head = Head(recipe_of(model), width(network.config), normalize=similarity == "cosine")
    if adapters:
        lora.add_adapters(network, adapters)
    return Tower(network, head, padding)


def open_encoder(spec: Mapping[str, Any], materials: Materials) -> "FinetuneEncoder":
    """Return the encoder of a suite with the texts of a dataset, untrained."""
    settings, training = spec["encoder"], spec["training"]
    tower = load_tower(
        find_model(settings["model"]), settings["similarity"], training["dropout"], training.get("lora")
    )
    tokens = dict(tokens_of_sides(materials.dataset, canonical(settings)))
    if materials.auxiliary is not None:
        texts = Texts(materials.auxiliary.texts, settings["document_length"], settings["document_prompt"])
        tokens[AUXILIARY] = tokens_of(find_model(settings["model"]), texts)
    return FinetuneEncoder(
        tower,
        tokens,
        {"query": materials.queries, "document": materials.documents},
        materials.labels.queries,
        precision=training["precision"],
        chunk_tokens=training["chunk_tokens"],
        chunk_gradients=training["chunk_gradients"],
    )


@cache
def tokens_of_sides(dataset: Path, settings: str) -> dict[str, Tokens]:
    """Return the token ids of all documents and queries, opened once for the seeds of a job."""
    options = json.loads(settings)
    model = find_model(options["model"])
    texts = dict(zip(("document", "query"), collection.texts(dataset), strict=True))
    return {
        side: tokens_of(model, Texts(lines, options[f"{side}_length"], options[f"{side}_prompt"]))
        for side, lines in texts.items()
    }


def trained_side(
    about: dict[str, Any],
    model: Path,
    dataset: Path,
    vectors: Path,
    side: str,
    rows: Rows | None,
    threads: int,
) -> NDArray[np.float32]:
    """Return the vectors [N, D] of a side by a run's tower: those of `rows`, others are zeros; all if None."""
    settings = about["encoder"]
    encoder = Encoder(
        find_model(settings["model"]), resolve_dtype(settings["dtype"]), settings["similarity"] == "cosine"
    )
    tokens = tokens_of_sides(dataset, canonical(settings))[side]
    load_side({"model": encoder.model, "head": encoder.head}, model, side)
    if rows is None:
        return encoder.encode(tokens, np.arange(len(tokens)), threads=threads)
    result = np.zeros((len(tokens), encoder.dimension), np.float32)
    result[rows] = encoder.encode(tokens, rows, threads=threads)
    return result


def load_side(parts: Mapping[str, nn.Module], path: Path, side: str) -> None:
    """Load a run's weights for a side, the side's own tower or the shared one, into its `model` and its `head`."""
    try:
        weights = load_file(path)
        own = f"{side}." if any(name.startswith(f"{side}.") for name in weights) else f"{SHARED}."
        nn.ModuleDict(parts).load_state_dict(
            {name.removeprefix(own): value for name, value in weights.items() if name.startswith(own)}
        )
    except Exception as error:
        raise UserError(
            f"{path}: no encoder can be read from it ({error}); delete it and run again"
        ) from error


class FinetuneEncoder(BiEncoder, nn.Module):
    """Encodes rows with towers that are trained: a `protocol.TrainedEncoder`.

    One tower serves both sides, unless a method trains one side only: then the other stays as it was at the start.
    """

    def __init__(
        self,
        tower: Tower,
        tokens: Mapping[str, Tokens],
        warmup: Mapping[str, Vectors],
        training_queries: Rows,
        *,
        precision: str = "auto",
        chunk_tokens: int = 2048,
        chunk_gradients: bool = False,
    ) -> None:
        super().__init__()
        precision = resolve_dtype(precision)
        if precision == "float16" and not torch.cuda.is_available():
            raise UserError("finetune.precision: float16 needs a GPU; take bfloat16, float32 or auto")
        # without `cpu` accelerate doesn't connect the processes of a machine without a GPU
        self._accelerator = Accelerator(
            mixed_precision=ACCELERATE_NAMES[precision], cpu=not torch.cuda.is_available()
        )
        self._dtype = precision
        self.towers = nn.ModuleDict({SHARED: tower.to(self._accelerator.device)})
        self._tokens, self._warmup, self._training_queries = tokens, warmup, training_queries
        self._lengths = {side: each.lengths for side, each in tokens.items()}
        self._chunk_tokens, self._chunk_gradients = chunk_tokens, chunk_gradients
        self._key, self._calls = (0, 0), 0
        self._pending: list[tuple[str, list[Rows], int, torch.Tensor]] = []
        self._frozen: torch.Tensor | None = None
        self._loaded = False
        self.document_version = 0
        self.trained = frozenset(SIDES)
        self.writes = self._accelerator.is_main_process

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of queries."""
        return self._encode("query", rows)

    def documents(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of documents; those of a frozen tower are looked up."""
        if "document" not in self.trained:
            return self.all_documents()[torch.from_numpy(rows)]
        return self._encode("document", rows)

    def auxiliary(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of texts that are in no corpus, by the documents' tower."""
        if "document" in self.trained:
            return self._encode(AUXILIARY, rows)
        return self._all(AUXILIARY, rows)

    def all_documents(self) -> torch.Tensor:
        """Return the vectors [N, D] of the whole corpus as they are now."""
        if "document" in self.trained:
            return self._all("document", np.arange(len(self._tokens["document"])))
        if self._frozen is None:
            start = self._warmup["document"]
            rows = np.arange(len(start))
            self._frozen = self._all("document", rows) if self._loaded else torch.from_numpy(float32(start))
        return self._frozen

    def still(self, side: str, rows: Rows) -> torch.Tensor:
        """Encode rows without dropout; the vectors of a frozen tower that wasn't loaded from a run are cached."""
        start = side not in self.trained and not self._loaded
        return self._start_vectors(side, rows) if start else self._all(side, rows)

    def moment(self, state: Mapping[str, torch.Tensor] | None = None) -> StoredMoment:
        """Encode corpus and training queries, or restore stored vectors."""
        if state:
            return StoredMoment(state["documents"], state["queries"], state["rows"].numpy())
        queries = self._all("query", self._training_queries)
        return StoredMoment(self.all_documents(), queries, self._training_queries)

    @torch.no_grad()
    def by_copy(self, side: str, rows: Rows, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Encode rows by a tower of other parameters, without dropout; every process encodes all."""
        tower = self._tower(side)
        prefix = f"towers.{SHARED if SHARED in self.towers else side}."
        own = {
            name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)
        }
        plan = list(batches(self._lengths[side][rows], self._chunk_tokens))
        was_training = tower.training
        tower.eval()
        try:
            with self._precision():
                parts = [
                    functional_call(tower, own, (self._tokens[side], rows[chunk])).cpu() for chunk in plan
                ]
        finally:
            tower.train(was_training)
        return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(plan)))]

    @torch.no_grad()
    def token_vectors(self, side: str, rows: Rows) -> torch.Tensor:
        """Return the input embeddings of the texts' tokens, before positions are added."""
        if self._accelerator.num_processes > 1:
            raise UserError("a method that moves tokens runs in one process alone; set finetune.processes: 1")
        network = self._tower(side).model
        ids = torch.from_numpy(self._tokens[side].taken(rows).ids.astype(np.int64))
        return network.get_input_embeddings()(ids.to(self._accelerator.device)).cpu().float()

    def from_tokens(self, side: str, rows: Rows, shift: torch.Tensor, still: bool) -> torch.Tensor:
        """Encode moved texts, all passes of a step with the same dropout; their graph isn't cached chunk by chunk."""
        lengths = self._lengths[side][rows]
        plan = list(batches(lengths, self._chunk_tokens))
        parts = shift.split(lengths.tolist())
        moved = [torch.cat([parts[place] for place in chunk.tolist()]) for chunk in plan]
        vectors = torch.cat(
            [self._moved_chunk(side, rows[chunk], part, number)
             for number, (chunk, part) in enumerate(zip(plan, moved, strict=True))]
        )  # fmt: skip
        return vectors[torch.from_numpy(np.argsort(np.concatenate(plan)))]

    def _moved_chunk(self, side: str, rows: Rows, shift: torch.Tensor, number: int) -> torch.Tensor:
        with torch.random.fork_rng(devices=self._gpus()):
            torch.manual_seed(torch_seed(self._key[0], "dropout of moved texts", self._key[1], side, number))
            with self._precision():
                return self._tower(side).moved(self._tokens[side], rows, shift).cpu()

    def warmup_queries(self, rows: Rows) -> torch.Tensor:
        """Return the cached vectors of queries."""
        return self._start_vectors("query", rows)

    def warmup_documents(self, rows: Rows) -> torch.Tensor:
        """Return the cached vectors of documents."""
        return self._start_vectors("document", rows)

    def load(self, path: Path) -> None:
        """Start from the towers of another run."""
        load_towers(self.towers, path)
        self._loaded = True
        self.document_version += 1

    def freeze(self, trained: frozenset[str]) -> None:
        """Split a shared tower if one side is frozen, and stop training the towers not named."""
        self.trained = trained
        if trained != frozenset(SIDES):
            split_tower(self.towers)
        for side in self.towers:
            if side != SHARED and side not in trained:
                self.towers[side].requires_grad_(False)

    def begin(self, seed: int, step: int) -> None:
        """Let seed and step decide dropout, so that a resumed run draws the same."""
        self._key, self._calls = (seed, step), 0
        self._pending.clear()
        self.train()

    def prepared(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser with accelerate's loss scaling, which float16 needs."""
        return self._accelerator.prepare_optimizer(optimizer)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients, chunk by chunk if they are cached, and sum them over processes."""
        if self._chunk_gradients:
            self._accelerator.backward(loss)
            for side, chunks, call, vectors in self._pending:
                parts = (
                    vectors.grad.split([len(chunk) for chunk in chunks]) if vectors.grad is not None else ()
                )
                for number, (rows, gradient) in enumerate(zip(chunks, parts, strict=False)):
                    self._chunk(side, rows, call, number).backward(gradient)
            self._pending.clear()
        else:
            self._accelerator.backward(loss)
        if self._accelerator.num_processes > 1:
            for parameter in self.parameters():
                if parameter.requires_grad:
                    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad = self._accelerator.reduce(gradient, reduction="sum")

    def stepped(self) -> None:
        """Note that document vectors have changed, unless they are frozen."""
        self.document_version += "document" in self.trained

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of both towers, each under the side it serves; adapters are added to what they adapt."""
        state = lora.merged(self.towers) if lora.has_adapters(self.towers) else self.towers.state_dict()
        return {name: value.detach().cpu() for name, value in state.items()}

    def _encode(self, side: str, rows: Rows) -> torch.Tensor:
        """Encode each row once, even if `rows` repeats it."""
        unique, places = np.unique(rows, return_inverse=True)
        plan = [unique[chunk] for chunk in batches(self._lengths[side][unique], self._chunk_tokens)]
        rank, processes = self._accelerator.process_index, self._accelerator.num_processes
        shares = [plan[number::processes] for number in range(processes)]
        call, self._calls = self._calls, self._calls + 1
        own = self._encode_share(side, shares[rank], call)
        vectors = gathered(own, [sum(map(len, share)) for share in shares], rank) if processes > 1 else own
        order = np.concatenate([rows for share in shares for rows in share])
        return vectors[torch.from_numpy(np.argsort(order))[torch.from_numpy(places.ravel())]]

    def _encode_share(self, side: str, chunks: list[Rows], call: int) -> torch.Tensor:
        """Encode this process's chunks, with gradient or with a leaf that collects it for later."""
        if not chunks:
            return torch.empty(0, self._warmup["document"].shape[1])
        cached = self._chunk_gradients and torch.is_grad_enabled()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not cached):
            vectors = torch.cat([self._chunk(side, rows, call, number) for number, rows in enumerate(chunks)])
        if cached:
            vectors = vectors.requires_grad_()
            self._pending.append((side, chunks, call, vectors))
        return vectors

    def _chunk(self, side: str, rows: Rows, call: int, number: int) -> torch.Tensor:
        """Encode one chunk; step, call and chunk decide its dropout, so a second pass equals the first."""
        rank = self._accelerator.process_index
        with torch.random.fork_rng(devices=self._gpus()):
            torch.manual_seed(torch_seed(self._key[0], "dropout", self._key[1], side, call, rank, number))
            with self._precision():
                return self._tower(side)(self._tokens[side], rows).cpu()

    def _all(self, side: str, rows: Rows) -> torch.Tensor:
        """Encode rows without dropout, by the engine that encodes pools and evaluations."""
        tower = self._tower(side)
        encoder = Encoder.around(tower.model, tower.head, self._dtype)
        return torch.from_numpy(encoder.encode(self._tokens[side], rows, threads=torch.get_num_threads()))

    def _start_vectors(self, side: str, rows: Rows) -> torch.Tensor:
        return torch.from_numpy(float32(self._warmup[side][rows]))

    def _tower(self, side: str) -> Any:
        own = "document" if side == AUXILIARY else side
        return self.towers[SHARED] if SHARED in self.towers else self.towers[own]

    def _precision(self) -> AbstractContextManager[Any]:
        return self._accelerator.autocast()

    def _gpus(self) -> list[int]:
        return [self._accelerator.device.index or 0] if self._accelerator.device.type == "cuda" else []


def split_tower(towers: nn.ModuleDict) -> None:
    """Replace a shared tower by two of equal weights."""
    if SHARED in towers:
        tower = towers.pop(SHARED)
        towers.update({"query": tower, "document": copy.deepcopy(tower)})


def load_towers(towers: nn.ModuleDict, path: Path) -> None:
    """Load towers from a run's model, split if that run trained one side only."""
    try:
        weights = load_file(path)
        if not any(name.startswith(SHARED) for name in weights):
            split_tower(towers)
        elif SHARED not in towers:
            weights = {
                name.replace(SHARED, side, 1): value for name, value in weights.items() for side in SIDES
            }
        towers.load_state_dict(lora.as_bases(weights, towers) if lora.has_adapters(towers) else weights)
    except Exception as error:
        raise UserError(
            f"{path}: no encoder can be read from it ({error}); delete it and run again"
        ) from error


def gathered(own: torch.Tensor, sizes: list[int], rank: int) -> torch.Tensor:
    """Join the vectors [n, D] of all processes in their order; gradients flow into this process's own only."""
    import torch.distributed as distributed

    padded = torch.zeros(max(sizes), own.shape[1])
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat(
        [
            own if number == rank else part[:size]
            for number, (part, size) in enumerate(zip(parts, sizes, strict=True))
        ]
    )
