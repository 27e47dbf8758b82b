"""A momentum copy: parameters that follow those of a trained encoder slowly (He et al. 2020, arXiv 1911.05722)."""

from collections.abc import Mapping

import numpy as np
import torch

from negmark.methods.types import NO_DOCUMENT, Ids
from negmark.train.counters import Counters
from negmark.train.tiers.protocol import TrainedEncoder

DECAY = "decay"


class MomentumCopy:
    """The copy of one run: a `negmark.methods.base.Momentum`."""

    def __init__(
        self,
        encoder: TrainedEncoder,
        counters: Counters,
        decay: float,
        parameters: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self._encoder, self._counters = encoder, counters
        self.decay = decay
        source = encoder.live() if parameters is None else parameters
        self._parameters = {name: value.clone() for name, value in source.items()}

    @classmethod
    def restored(
        cls, encoder: TrainedEncoder, counters: Counters, state: Mapping[str, torch.Tensor]
    ) -> "MomentumCopy":
        """Return the copy that `state_dict` described."""
        live = encoder.live()
        own = {name: value.to(live[name].device) for name, value in state.items() if name != DECAY}
        return cls(encoder, counters, float(state[DECAY]), own)

    @torch.no_grad()
    def follow(self) -> None:
        """Make each parameter `decay` times itself plus (1 - decay) times the trained one."""
        for name, trained in self._encoder.live().items():
            self._parameters[name].lerp_(trained, 1 - self.decay)

    def queries(self, queries: Ids) -> torch.Tensor:
        """Return unit vectors [*, D] of queries."""
        return self._encoded("query", queries)

    def documents(self, documents: Ids) -> torch.Tensor:
        """Return unit vectors [*, D] of documents; those of document 0 in empty places."""
        return self._encoded("document", documents)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the parameters and the decay."""
        return {DECAY: torch.tensor(self.decay, dtype=torch.float64), **self._parameters}

    @torch.no_grad()
    def _encoded(self, side: str, rows: Ids) -> torch.Tensor:
        self._counters.extra_vectors += int((rows != NO_DOCUMENT).sum())
        vectors = self._encoder.by_copy(side, np.maximum(rows, 0).ravel(), self._parameters)
        return vectors.reshape(*rows.shape, -1)
