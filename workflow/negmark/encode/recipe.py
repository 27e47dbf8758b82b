"""How a sentence-transformers folder makes a text's vector of hidden states, read from `modules.json` and beside it.

That is the pooling, what follows it (Dense, LayerNorm, Normalize), and a cut to the first dimensions; and for whom the
folder names prompts and which similarity. A folder without `modules.json` is taken as sentence-transformers takes it:
the last token of what was made to continue texts, else the mean. What can't be followed is refused in one line, as the
vectors would be other ones than the folder means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json, sha256_file
from negmark.encode.model_files import (
    CONFIG,
    MODULES,
    WEIGHTS,
    ModuleEntry,
    read_modules,
    transformer_folder,
    transformer_settings,
)

FOLDER_SETTINGS = "config_sentence_transformers.json"
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Ways of pooling, by sentence-transformers' names and in the order in which it joins several."""
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""What the same is called in folders that were saved before version 6."""
BARE_POOLING = "1_Pooling"
SIDES = ("query", "document")
UNTOUCHED = frozenset(
    {
        "do_lower_case", "document_length", "max_seq_length", "modality_config", "module_output_name",
        "query_length", "transformer_task", "unpad_inputs",
    }
)  # fmt: skip
"""Settings of a Transformer module that are followed, or that the suite's own lengths replace."""
PRECISION = frozenset({"attn_implementation", "dtype", "torch_dtype"})
"""Keys of a module's `model_kwargs` that the suite's precision and this package's attention replace."""


@dataclass(frozen=True)
class Step:
    """A module behind the pooling: its class, its settings and the folder of its weights."""

    kind: str
    settings: dict[str, Any]
    folder: Path

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / WEIGHTS

    @property
    def has_weights(self) -> bool:
        """Whether it has any."""
        return self.kind != "Normalize"


@dataclass(frozen=True)
class Recipe:
    """What makes a vector of hidden states: poolings (joined if several), steps, and the dimensions that are kept."""

    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    steps: tuple[Step, ...] = ()
    truncate: int | None = None

    @property
    def unit(self) -> bool:
        """Whether vectors have length 1 as they are."""
        return bool(self.steps) and self.steps[-1].kind == "Normalize" and self.truncate is None

    def decides(self) -> list[Any]:
        """Return all of it that decides vectors, for a key of cached ones."""
        steps = [
            [step.kind, step.settings, sha256_file(step.weights) if step.has_weights else None]
            for step in self.steps
        ]
        return [list(self.pooling), self.include_prompt, steps, self.truncate]


@dataclass(frozen=True)
class Said:
    """What a folder says of how its vectors are used: a prompt a side, a similarity (None if it names none)."""

    prompts: dict[str, str]
    similarity: str | None
    truncate: int | None
    others: tuple[str, ...]
    """Prompts that it names and that neither side uses in sentence-transformers: for other tasks, or by other names."""
    file: Path


def recipe_of(model: Path) -> Recipe:
    """Return how a model's folder makes vectors. Raises `UserError` if that can't be followed."""
    modules = read_modules(model)
    if not modules:
        return Recipe(pooling=_bare_pooling(model))
    path = model / MODULES
    kinds = [module.kind for module in modules]
    if (
        kinds[0] != "Transformer"
        or kinds.count("Transformer") > 1
        or kinds[1:2] != ["Pooling"]
        or kinds.count("Pooling") > 1
    ):
        raise UserError(
            f"{path}: has {', '.join(kinds)}; expected a Transformer, a Pooling and what follows that; take another "
            "model"
        )
    _check_transformer(model)
    pooling, include_prompt = _pooling(modules[1].path / CONFIG)
    steps = tuple(_step(module) for module in modules[2:])
    return Recipe(pooling, include_prompt, steps, said_in(model).truncate)


def said_in(model: Path) -> Said:
    """Return what a model's folder says of the use of its vectors. Raises `UserError` if that can't be read.

    Prompts are those of SentenceTransformer's `encode_query` and `encode_document`: `query` and `document`, or none.
    """
    path = model / FOLDER_SETTINGS
    told = read_json(path) if path.is_file() and (model / MODULES).is_file() else {}
    if not isinstance(told, dict) or not isinstance(prompts := told.get("prompts") or {}, dict):
        raise UserError(f"{path}: expected a JSON object with prompts by name; get the model again")
    if (kind := told.get("model_type", "SentenceTransformer")) != "SentenceTransformer":
        raise UserError(f"{path}: is a {kind}, which gives no single vector; take a SentenceTransformer")
    truncate = told.get("truncate_dim")
    if truncate is not None and (not isinstance(truncate, int) or truncate < 1):
        raise UserError(f"{path}: truncate_dim: expected a number of dimensions, found {truncate!r}; mend it")
    used = {side: str(prompts.get(side) or "") for side in SIDES}
    others = tuple(sorted(name for name, text in prompts.items() if text and name not in SIDES))
    return Said(used, told.get("similarity_fn_name"), truncate, others, path)


def ends_in_unit_length(model: Path) -> bool:
    """Return whether the vectors of a folder have length 1 as it makes them: of a transformer or of a token table."""
    modules = read_modules(model)
    return bool(modules) and modules[-1].kind == "Normalize" and said_in(model).truncate is None


def differences(model: Path, settings: Mapping[str, Any]) -> list[str]:
    """Return lines on what a folder says of the use of its vectors and a suite's `encoder` settings do otherwise."""
    said = said_in(model)
    lines = [
        f"encoder.{side}_prompt is {settings[f'{side}_prompt']!r}, and {said.file.name} of {model.name} says "
        f"{said.prompts[side]!r}: the setting is taken"
        for side in SIDES
        if said.prompts[side] and settings[f"{side}_prompt"] != said.prompts[side]
    ]
    if said.similarity not in (None, settings["similarity"]) and not ends_in_unit_length(model):
        lines.append(
            f"encoder.similarity is {settings['similarity']}, and {said.file.name} of {model.name} says "
            f"{said.similarity}: the setting is taken"
        )
    lacking = [f"encoder.{side}_prompt" for side in SIDES if not settings[f"{side}_prompt"]]
    if said.others and lacking:
        lines.append(
            f"{said.file.name} of {model.name} also names prompts that SentenceTransformer puts before neither queries "
            f"nor documents ({', '.join(said.others)}); {' and '.join(lacking)} would set one"
        )
    return lines


def _check_transformer(model: Path) -> None:
    """Raise `UserError` if the Transformer module is told something that would change its vectors."""
    path, told = transformer_settings(model)
    text = (told.get("modality_config") or {}).get(
        "text", {"method": "forward", "method_output_name": "last_hidden_state"}
    )
    plain = told.get("transformer_task", "feature-extraction") == "feature-extraction" and text == {
        "method": "forward", "method_output_name": "last_hidden_state",
    }  # fmt: skip
    kept = {name: value for name, value in told.items() if value and name not in UNTOUCHED}
    for name in ("model_args", "model_kwargs"):
        kept[name] = {key: value for key, value in (kept.get(name) or {}).items() if key not in PRECISION}
    strange = [name for name, value in kept.items() if value]
    if not plain or strange:
        raise UserError(
            f"{path}: {strange[0] if strange else 'modality_config'}: the transformer is not used as it is, which is "
            "not understood; take another model"
        )


def _bare_pooling(model: Path) -> tuple[str, ...]:
    """Return what sentence-transformers pools by where nothing says how."""
    config = read_json(transformer_folder(model) / CONFIG)
    made_for = (config.get("architectures") or [""])[0]
    continues = made_for.endswith("ForCausalLM") and config.get("is_causal", True)
    taken = ("lasttoken",) if continues else ("mean",)
    path = model / BARE_POOLING / CONFIG
    if path.is_file() and _pooling(path) != (taken, True):
        raise UserError(
            f"{path}: says {' and '.join(_pooling(path)[0])}, but without a {MODULES} nothing reads it, and "
            f"sentence-transformers takes {taken[0]}; add the {MODULES}, or remove the file"
        )
    return taken


def _pooling(path: Path) -> tuple[tuple[str, ...], bool]:
    """Return the poolings of a Pooling module, and whether prompts are pooled."""
    told = read_json(path)
    if not isinstance(told, dict):
        raise UserError(f"{path}: expected a JSON object; get the model again")
    modes = told.get("pooling_mode") or [how for flag, how in FLAGS.items() if told.get(flag)] or ["mean"]
    modes = (modes,) if isinstance(modes, str) else tuple(map(str, modes))
    if wrong := [how for how in modes if how not in POOLINGS]:
        raise UserError(f"{path}: pooling_mode: {wrong[0]} is not known; {', '.join(POOLINGS)} are")
    return modes, bool(told.get("include_prompt", True))


def _step(module: ModuleEntry) -> Step:
    """Return a module behind the pooling; its own files are read where they say more than its class."""
    path = module.path / CONFIG
    told = read_json(path) if path.is_file() else {}
    if not isinstance(told, dict):
        raise UserError(f"{path}: expected a JSON object; get the model again")
    for name in ("module_input_name", "module_output_name"):
        if (told.get(name) or "sentence_embedding") != "sentence_embedding":
            raise UserError(f"{path}: {name}: {told[name]} is not understood; only sentence_embedding is")
    step = Step(module.kind, told, module.path)
    if step.has_weights and not path.is_file():
        raise UserError(f"{path}: there is no such file; get the model again")
    if step.has_weights and not step.weights.is_file():
        raise UserError(f"{step.weights}: there is no such file; save the model as safetensors")
    return step
