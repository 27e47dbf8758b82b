"""Which dropout is applied, wherever a network of transformers applies it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional


def rates(run: Callable[[], Any]) -> set[float]:
    """Return the rates of every dropout that is applied while `run` is called."""
    seen: set[float] = set()
    plain, attend = functional.dropout, functional.scaled_dot_product_attention

    def dropout(
        value: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        seen.update([p] if training else [])
        return plain(value, p, training, inplace)

    def attention_with(*parts: torch.Tensor, **options: Any) -> torch.Tensor:
        seen.add(options.get("dropout_p", 0.0))
        return attend(*parts, **options)

    with pytest.MonkeyPatch.context() as patch:
        for place in (functional, torch.nn.functional):
            patch.setattr(place, "dropout", dropout)
            patch.setattr(place, "scaled_dot_product_attention", attention_with)
        run()
    return seen
