"""What an architecture can do, asked of its own class and config and never of a list of names.

Which class encodes, which attention it has, in which precision it computes, how many tokens it reads, where its dropout
is. None of this needs the weights.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import logging
from pathlib import Path
from typing import Any

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.encode.device import resolve_dtype
from negmark.encode.model_files import open_config, open_network, open_tokenizer, reading
from negmark.methods.later import nn, torch

ATTENTION = {"cpu": "eager", "cuda": "sdpa"}
"""By device. Without a mask, two products and a softmax are no slower on a CPU core than PyTorch's kernel."""
DROPOUT = ("dropout", "dropout_prob", "dropout_rate", "pdrop")
"""How the names of dropout rates end in the configs of transformers."""
HEADS = ("classifier", "cls", "pooler", "qa", "seq_classif", "summary")
"""How those begin that are of heads, and not of the body that gives hidden states."""
TWO_TOKENS = [[0, 1]]


def encoder_class(config: Any) -> Any:
    """Return the class of transformers that gives the hidden states of a config's model.

    Of an encoder-decoder it is the encoder alone, where transformers has a class for it (T5's kin).
    """
    from transformers import MODEL_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    if type(config) not in MODEL_MAPPING:
        raise UserError(
            f"encoder.model: transformers has no encoder for the type {config.model_type}; take another model"
        )
    found = MODEL_MAPPING[type(config)]
    whole = found[0] if isinstance(found, tuple) else found
    if has_decoder(whole) and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        return MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]
    return whole


def has_decoder(kind: Any) -> bool:
    """Return whether a class of transformers is an encoder-decoder."""
    return "decoder_input_ids" in inspect.signature(kind.forward).parameters


def attention(kind: Any, device: str) -> str:
    """Return the attention that a class is opened with on a device: eager where it has no other (MPNet, DeBERTa)."""
    wanted = ATTENTION[device]
    return wanted if wanted != "sdpa" or getattr(kind, "_supports_sdpa", False) else "eager"


def open_encoder(
    model: Path, dtype: str = "float32", attend: str | None = None, dropout: float | None = None
) -> Any:
    """Return the network of an encoder's folder, in evaluation mode.

    `attend` names its attention (None lets transformers choose), `dropout` its rates (None keeps the config's). Raises
    `UserError` if it can't be opened, or is an encoder-decoder that reads nothing without its decoder's input.
    """
    config = open_config(model)
    set_dropout(config, dropout, "finetune.dropout")
    kind = encoder_class(config)
    options = {"attn_implementation": attend} if attend else {}
    network = open_network(kind, model, config=config, dtype=getattr(torch, dtype), **options)
    if has_decoder(kind):
        try:
            with torch.no_grad():
                network(input_ids=torch.tensor(TWO_TOKENS))
        except ValueError as error:
            raise UserError(
                f"{model}: {kind.__name__} is an encoder-decoder whose encoder can't be opened alone; take an encoder"
            ) from error
    return network


def width(config: Any) -> int:
    """Return the dimensions of a model's hidden states."""
    return int(config.get_text_config().hidden_size)


def usable_dtype(config: Any, dtype: str) -> str:
    """Return the precision to compute in: what is asked for (`auto` is what the hardware has), or float32, and says so.

    Some classes mix precisions and can't compute in half of it (XLNet).
    """
    wanted = resolve_dtype(dtype)
    return wanted if wanted == "float32" else _usable(Told(config), wanted)


class Told:
    """A config that is known by what it says."""

    def __init__(self, config: Any) -> None:
        self.config, self._key = config, json.dumps(config.to_dict(), default=str, sort_keys=True)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and self._key == other._key


@functools.lru_cache
def _usable(told: Told, dtype: str) -> str:
    """Return the same once for a config, so that it is said once."""
    config = told.config
    if runs_in(config, dtype) or not runs_in(config, "float32"):  # what can't be tried so is taken to be able
        return dtype
    stage.say(f"{encoder_class(config).__name__} can't compute in {dtype}; float32 is taken")
    return "float32"


def runs_in(config: Any, dtype: str) -> bool:
    """Return whether a config's network reads two tokens in a precision, tried with tensors that have no content."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            made = copy.deepcopy(config)
            network = encoder_class(config)._from_config(
                made, dtype=getattr(torch, dtype), attn_implementation="eager"
            )
            network.eval()(input_ids=torch.tensor(TWO_TOKENS))
    except Exception:
        return False
    finally:
        log.setLevel(before)
    return True


def readable(model: Path, tokenizer: Any = None) -> int:
    """Return how many tokens a model reads: what its tokenizer and its positions allow."""
    if tokenizer is None:
        tokenizer = open_tokenizer(model)
    with reading(model):
        return min([int(tokenizer.model_max_length), *positions(open_config(model))])


def positions(config: Any) -> list[int]:
    """Return the bounds that a config's class puts on the tokens of a text; none where positions are relative.

    One is the config's own, whatever a family calls it. Another is a table of positions whose first rows are kept for
    padding: a text begins behind them (RoBERTa, MPNet).
    """
    told = getattr(config.get_text_config(), "max_position_embeddings", None)
    bounds = [told] if isinstance(told, int) and told > 0 else []
    with torch.device("meta"):
        network = encoder_class(config)(copy.deepcopy(config))
    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding) and "position" in name.rpartition(".")[2]:
            kept = 0 if module.padding_idx is None else module.padding_idx + 1
            bounds.append(module.num_embeddings - kept)
    return bounds


def set_dropout(config: Any, dropout: float | None, key: str) -> None:
    """Set every dropout rate in a transformer's config; None leaves them as they are.

    Raises `UserError`, which names the setting `key`, if the architecture has none to set.
    """
    if dropout is None:
        return
    parts = [
        config,
        *(getattr(config, name) for name in getattr(config, "sub_configs", {}) if hasattr(config, name)),
    ]
    found = [(part, name) for part in parts if part is not None for name in _rates(part)]
    if dropout and all(name.startswith(HEADS) for _, name in found):
        raise UserError(
            f"{key}: {dropout} is asked for, but {config.model_type} has no dropout; leave it out"
        )
    for part, name in found:
        setattr(part, name, dropout)


def _rates(config: Any) -> list[str]:
    """Return the names of a config's dropout rates; some are null, which stands for another's."""
    return [
        name
        for name, value in config.to_dict().items()
        if name.endswith(DROPOUT) and not isinstance(value, bool | str | list | dict)
    ]
