"""The static tier: one trainable row for each token, and a text is the mean of its tokens' rows, of unit length.

A whole encoder is trained at the price of the adapter: a step touches the rows of the batch's own tokens and no
others. Of a tokenizer's vocabulary only what documents and queries of the dataset hold is kept in memory, and neither
gradient nor optimiser ever sees the whole table (`negmark.train.tiers.row_adam`).

One table serves both sides until a method trains one side alone: then the other keeps its start.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import embedding_bag, normalize

from negmark.core.errors import UserError
from negmark.encode.device import keep_freed_memory
from negmark.encode.table_starts import open_table
from negmark.encode.token_table import SIDES, TokenTable, tokens_of, tokens_of_sides
from negmark.encode.tokens import Texts, Tokens
from negmark.store.auxiliary import AUXILIARY
from negmark.store.vectors import Vectors, float32
from negmark.train.inputs import Materials
from negmark.train.tiers.protocol import BiEncoder, Rows
from negmark.train.tiers.row_adam import Bags, RowAdam, TrainedTable, means
from negmark.train.tiers.static_rows import SHARED, Moved, load_moved

TEXTS_AT_A_TIME = 4096
"""Texts of a corpus that are encoded together: their tokens stay in a core's cache."""
TOKENS_AT_A_TIME = 1 << 22
"""Of a file of tokens, which is never read whole."""


def open_encoder(spec: Mapping[str, Any], materials: Materials) -> "StaticEncoder":
    """Return the untrained table of a suite with the tokens of a dataset."""
    keep_freed_memory()
    training, encoder = spec["training"], spec["encoder"]
    start = open_table(encoder["table"], encoder["model"])
    tokens = tokens_of_sides(start, materials.dataset, encoder)
    if materials.auxiliary is not None:
        texts = Texts(materials.auxiliary.texts, encoder["document_length"], encoder["document_prompt"])
        tokens[AUXILIARY] = tokens_of(start, texts)
    return StaticEncoder(
        start,
        tokens,
        {"query": materials.queries, "document": materials.documents},
        learned_weights=training["weights"] == "learned",
    )


class Vocabulary:
    """The tokens that a dataset holds, numbered from 0 in the order of their ids."""

    def __init__(self, size: int, sides: Mapping[str, Tokens]) -> None:
        held = np.zeros(size, dtype=bool)
        for tokens in sides.values():
            ids = np.asarray(tokens.ids)
            for start in range(0, len(ids), TOKENS_AT_A_TIME):
                held[ids[start : start + TOKENS_AT_A_TIME]] = True
        self.ids: Rows = np.flatnonzero(held)
        """[U] ids of the tokens."""
        self._places = np.where(held, np.cumsum(held) - 1, -1).astype(np.int32)

    def bags(self, tokens: Tokens) -> Bags:
        """Return texts as numbers of tokens."""
        return Bags(self._places[tokens.ids], tokens.starts.astype(np.int32))

    def places(self, ids: Rows) -> NDArray[np.int32]:
        """Return the numbers of tokens, -1 of those that no text holds."""
        return self._places[ids]


class StaticEncoder(BiEncoder, nn.Module):
    """Encodes rows with a token table that is trained: a `protocol.TrainedEncoder`."""

    writes = True

    def __init__(
        self,
        start: TokenTable,
        tokens: Mapping[str, Tokens],
        warmup: Mapping[str, Vectors],
        *,
        learned_weights: bool = False,
    ) -> None:
        super().__init__()
        self._start, self._tokens, self._warmup = start, tokens, warmup
        self._vocabulary = Vocabulary(len(start.rows), tokens)
        self._learned = learned_weights
        rows, weights = self._start_of(self._vocabulary.ids)
        self.tables = nn.ModuleDict({SHARED: TrainedTable(rows, weights)})
        self.document_version = 0
        self.trained = frozenset(SIDES)

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of queries."""
        return self._table("query")(self._bags("query", rows))

    def documents(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of documents."""
        return self._table("document")(self._bags("document", rows))

    def auxiliary(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of texts that are in no corpus, by the table of documents."""
        return self._table("document")(self._bags(AUXILIARY, rows))

    def all_documents(self) -> torch.Tensor:
        """Return the unit vectors [N, D] of the whole corpus."""
        return self._corpus(*self._table("document").now())

    @torch.no_grad()
    def still(self, side: str, rows: Rows) -> torch.Tensor:
        """Return unit vectors of a side."""
        return self.queries(rows) if side == "query" else self.documents(rows)

    def moment(self, state: Mapping[str, torch.Tensor] | None = None) -> "StaticMoment":
        """Keep the tables as they are now, or take up tables that were kept."""
        tables = state or {name: table.folded() for name, table in self._named_tables()}
        documents = tables["document" if "document" in tables else SHARED]
        return StaticMoment(dict(tables), self._corpus(documents, None), self)

    def moment_queries(self, rows: Rows, table: torch.Tensor) -> torch.Tensor:
        """Return unit vectors of queries by the rows [U, D] of a moment."""
        return means(self._bags("query", rows), table, None)[0]

    def by_copy(self, side: str, rows: Rows, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return unit vectors of a side by other tables."""
        name = f"tables.{SHARED if SHARED in self.tables else side}"
        return means(self._bags(side, rows), parameters[f"{name}.rows"], parameters.get(f"{name}.weights"))[0]

    @torch.no_grad()
    def token_vectors(self, side: str, rows: Rows) -> torch.Tensor:
        """Return the rows of the texts' tokens, times their weights, as they enter the mean."""
        tokens = torch.from_numpy(self._bags(side, rows).tokens).long()
        table, weights = self._table(side).now()
        return table[tokens] if weights is None else table[tokens] * weights[tokens][:, None]

    def from_tokens(self, side: str, rows: Rows, shift: torch.Tensor, still: bool) -> torch.Tensor:
        """Return unit vectors of moved texts: a text's sum moves by the sum of its tokens' shifts."""
        bags = self._bags(side, rows)
        moved = embedding_bag(
            torch.arange(len(shift)),
            shift,
            torch.from_numpy(bags.starts).long(),
            mode="sum",
            include_last_offset=True,
        )
        if not still:
            return self._table(side)(bags, moved.detach())
        vectors, lengths = means(bags, *self._table(side).now())
        whole = lengths.masked_fill(lengths.isinf(), 1.0)[:, None]
        return normalize(vectors * whole + moved, dim=1)

    def warmup_queries(self, rows: Rows) -> torch.Tensor:
        """Return the cached vectors of queries."""
        return torch.from_numpy(float32(self._warmup["query"][rows]))

    def warmup_documents(self, rows: Rows) -> torch.Tensor:
        """Return the cached vectors of documents."""
        return torch.from_numpy(float32(self._warmup["document"][rows]))

    def load(self, path: Path) -> None:
        """Start from the table of another run. Raises `UserError` if one of both learned weights and the other not."""
        moved = load_moved(path)
        if SHARED not in moved:
            part(self.tables)
        for name, table in self._named_tables():
            own = moved.get(name) or moved[SHARED]
            if (own.weights is not None) != self._learned:
                raise UserError(f"{path}: static.weights isn't what it was in this run; set both alike")
            self._take(table, own)
        self.document_version += 1

    def freeze(self, trained: frozenset[str]) -> None:
        """Part the table, if it is one, and stop training what is not named."""
        self.trained = trained
        if trained != frozenset(SIDES):
            part(self.tables)
        for name, table in self._named_tables():
            table.requires_grad_(name == SHARED or name in trained)

    def begin(self, seed: int, step: int) -> None:
        """Nothing is random here."""

    def prepared(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return an AdamW of the same settings that moves the rows of a step's tokens alone."""
        return RowAdam(optimizer, [table for _, table in self._named_tables() if table.rows.requires_grad])

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients."""
        loss.backward()

    def stepped(self) -> None:
        """Note that document vectors have changed, unless they are frozen."""
        self.document_version += "document" in self.trained

    @torch.no_grad()
    def weights(self) -> dict[str, torch.Tensor]:
        """Return the rows that are no longer those of the start, with the ids of their tokens."""
        start, weights = self._start_of(self._vocabulary.ids)
        found: dict[str, torch.Tensor] = {}
        for name, table in self._named_tables():
            changed = (table.rows != start).any(dim=1)
            if table.weights is not None:
                changed |= table.weights != weights
            found[f"{name}.tokens"] = torch.from_numpy(self._vocabulary.ids)[changed]
            found[f"{name}.rows"] = table.rows[changed]
            if table.weights is not None:
                found[f"{name}.weights"] = table.weights[changed]
        return found

    def _named_tables(self) -> list[tuple[str, TrainedTable]]:
        return [(name, table) for name, table in self.tables.items() if isinstance(table, TrainedTable)]

    def _table(self, side: str) -> Any:
        return self.tables[SHARED] if SHARED in self.tables else self.tables[side]

    def _bags(self, side: str, rows: Rows) -> Bags:
        return self._vocabulary.bags(self._tokens[side].taken(rows))

    @torch.no_grad()
    def _corpus(self, rows: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        count = len(self._tokens["document"])
        vectors = torch.empty(count, rows.shape[1])
        for start in range(0, count, TEXTS_AT_A_TIME):
            block = np.arange(start, min(start + TEXTS_AT_A_TIME, count))
            vectors[start : start + len(block)] = means(self._bags("document", block), rows, weights)[0]
        return vectors

    def _start_of(self, ids: Rows) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return rows and weights of tokens before training; without learned weights they are folded into the rows."""
        rows, weights = self._start.rows[ids], self._start.weights
        weights = None if weights is None else weights[ids]
        if not self._learned:
            return torch.from_numpy(rows if weights is None else rows * weights[:, None]), None
        return torch.from_numpy(rows), torch.ones(len(ids)) if weights is None else torch.from_numpy(weights)

    @torch.no_grad()
    def _take(self, table: TrainedTable, moved: Moved) -> None:
        """Fill a table with what another run has moved; all else is the start."""
        places = self._vocabulary.places(moved.tokens)
        held = torch.from_numpy(places[places >= 0].astype(np.int64))
        rows, weights = self._start_of(self._vocabulary.ids)
        table.rows.copy_(rows)
        table.rows[held] = torch.from_numpy(moved.rows[places >= 0])
        if table.weights is not None and weights is not None and moved.weights is not None:
            table.weights.copy_(weights)
            table.weights[held] = torch.from_numpy(moved.weights[places >= 0])


class StaticMoment:
    """The tables of one moment, times their weights, and the document vectors they give: a `protocol.Moment`."""

    def __init__(
        self, tables: dict[str, torch.Tensor], documents: torch.Tensor, encoder: StaticEncoder
    ) -> None:
        self.documents, self._tables, self._encoder = documents, tables, encoder

    @torch.no_grad()
    def queries(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors of queries."""
        return self._encoder.moment_queries(
            rows, self._tables["query" if "query" in self._tables else SHARED]
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tables: one, or one a side."""
        return self._tables


def part(tables: nn.ModuleDict) -> None:
    """Make one table for both sides two tables of equal rows."""
    if SHARED in tables:
        table = tables.pop(SHARED)
        tables.update({"query": table, "document": copy.deepcopy(table)})
