"""Stage export: a trained run as a folder for `SentenceTransformer(path)`, giving the vectors of its evaluation.

Where one tower serves both sides, the folder holds a transformer and what follows it in the folder that it comes from
(pooling, Dense, LayerNorm), as trained, and a normalisation for cosine;
of the static tier a StaticEmbedding and a normalisation, where both sides are also cut at the same length.
Where the sides differ (maps of the adapter tier, towers that a method has parted), a `Router` holds both, and
`encode_query` and `encode_document` choose between them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import safe_open
from sentence_transformers import SentenceTransformer, SimilarityFunction
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    LayerNorm,
    Module,
    Normalize,
    Pooling,
    Router,
    StaticEmbedding,
    Transformer,
)
from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, replacing_folder, write_text
from negmark.core.tiers import DEFAULT
from negmark.encode.head import Head
from negmark.encode.model_files import hush_transformers, lowers, transformer_folder
from negmark.encode.pretrained import find_model
from negmark.encode.recipe import recipe_of
from negmark.encode.table_starts import open_table
from negmark.encode.token_table import cutting
from negmark.share.model_card import model_card
from negmark.train.tiers import static_rows
from negmark.train.tiers.adapter_maps import SIDES, load_maps
from negmark.train.tiers.finetune import SHARED, load_side
from negmark.train.tiers.static_rows import load_moved, trained_table

MODEL, MANIFEST, METRICS, CARD = "model.safetensors", "manifest.json", "metrics.json", "README.md"
Modules = list[Module]
STEPS: dict[str, type[Module]] = {"Dense": Dense, "LayerNorm": LayerNorm}


def open_run(run: Path, settings: Mapping[str, Any], tier: str) -> SentenceTransformer:
    """Return the model of a run on the CPU, in float32; `settings` are those of the encoder it started from.

    Raises `UserError` if the run's model can't be read, belongs to another encoder or gives no vectors.
    """
    builders = {"adapter": adapter_modules, "static": static_modules, "finetune": finetune_modules}
    if tier not in builders:
        raise UserError(f"{run}: a run of the tier {tier} gives no vectors; {', '.join(builders)} do")
    modules = builders[tier](run / MODEL, settings)
    # adapters and token tables give vectors of unit length, whatever the suite's encoder leaves
    similarity = SimilarityFunction(settings["similarity"] if tier == "finetune" else "cosine")
    prompts = {side: settings[f"{side}_prompt"] for side in SIDES}
    return SentenceTransformer(
        modules=[*modules], device="cpu", prompts=prompts, similarity_fn_name=similarity
    )


def finetune_modules(path: Path, settings: Mapping[str, Any]) -> Modules:
    """Return the modules of a run's shared tower, or a `Router` between its two."""

    def tower(*sides: str) -> Modules:
        transformer, head = untrained(settings, sides)
        load_side({"model": transformer.model, "head": head}, path, sides[0])
        return [transformer, *modules_of(head)]

    if is_shared(path):
        return tower(*SIDES)
    return [Router.for_query_document(tower("query"), tower("document"))]


def static_modules(path: Path, settings: Mapping[str, Any]) -> Modules:
    """Return a run's token table, or a `Router` between two where the sides differ in their table or their length.

    Learned weights are folded into the rows. A text without any known token gets a vector of zeros there, and here
    one whose numbers are all equal: no other vector differs.
    """
    start, moved = open_table(settings["table"], settings["model"]), load_moved(path)

    def side(name: str) -> Modules:
        table = torch.from_numpy(trained_table(start, moved, name))
        tokenizer = cutting(start.tokenizer, settings[f"{name}_length"])
        return [StaticEmbedding(tokenizer, embedding_weights=table), Normalize()]

    if static_rows.SHARED in moved and settings["query_length"] == settings["document_length"]:
        return side("document")
    return [Router.for_query_document(side("query"), side("document"))]


def adapter_modules(path: Path, settings: Mapping[str, Any]) -> Modules:
    """Return a `Router` between a run's two maps; the encoder in front of them is stored once.

    The maps were trained on vectors of unit length. As they have no bias, the length of the input only scales the
    output, and the normalisation behind the map removes it: none is needed in front.
    """
    maps = load_maps(path)
    transformer, head = untrained(settings, SIDES)
    front, width = [transformer, *modules_of(head)], head.dimension
    for weight in maps.values():
        if weight.shape != (width, width):
            raise UserError(
                f"{path}: its maps are {' x '.join(map(str, weight.shape))}, but vectors of {settings['model']} "
                f"have {width} dimensions; name the encoder that the run was trained on"
            )
    query, document = (
        Dense(width, width, bias=False, activation_function=None, init_weight=torch.from_numpy(maps[side]))
        for side in SIDES
    )
    unit = Normalize()
    return [Router.for_query_document([*front, query, unit], [*front, document, unit])]


def modules_of(head: Head) -> Modules:
    """Return what follows a transformer as sentence-transformers' own modules, with the weights of now.

    A cut to the first dimensions is a Dense of ones and zeros: `truncate_dim` would cut behind what follows it.
    """
    recipe = head.recipe
    found: Modules = [Pooling(head.hidden, recipe.pooling, recipe.include_prompt)]
    for step, module in zip(recipe.steps, head.steps, strict=True):
        made = STEPS[step.kind].load(str(step.folder)) if step.has_weights else Normalize()
        made.load_state_dict(module.state_dict())
        found.append(made)
    if recipe.truncate is not None:
        cut = torch.eye(head.dimension, head.width)
        found.append(Dense(head.width, head.dimension, bias=False, activation_function=None, init_weight=cut))
    return [*found, *([Normalize()] if head.normalize and not recipe.unit else [])]


def untrained(settings: Mapping[str, Any], sides: Sequence[str]) -> tuple[Transformer, Head]:
    """Return the encoder before training and what follows it; texts are truncated to the length of their side."""
    folder = find_model(settings["model"])
    lengths = {f"{side}_length": settings[f"{side}_length"] for side in sides}
    longest = max(lengths.values())
    transformer = Transformer(
        str(transformer_folder(folder)),
        max_seq_length=longest,
        do_lower_case=lowers(folder),
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        **(lengths if min(lengths.values()) < longest else {}),
    )
    head = Head(recipe_of(folder), transformer.get_embedding_dimension(), settings["similarity"] == "cosine")
    return transformer, head


def is_shared(path: Path) -> bool:
    """Return whether a run of the finetune tier has one tower for both sides."""
    try:
        with safe_open(path, framework="pt") as weights:
            return any(name.startswith(f"{SHARED}.") for name in weights.keys())  # noqa: SIM118 (no dict)
    except Exception as error:
        raise UserError(
            f"{path}: no encoder can be read from it ({error}); delete it and run again"
        ) from error


def main(
    run: Annotated[Path, Argument(help="folder of the run: its model.safetensors and manifest.json")],
    output: Annotated[Path, Option(help="the folder to write, in sentence-transformers layout")],
    encoder: Annotated[str, Option(help="the suite's encoder settings that the run started from, as JSON")],
) -> None:
    """Turn a trained run into a folder that SentenceTransformer opens, with a model card."""
    hush_transformers()
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: this folder is there already; delete it to write it anew")
    manifest = read_json(run / MANIFEST)
    metrics = read_json(run / METRICS) if (run / METRICS).is_file() else {}
    settings = json.loads(encoder)
    model = open_run(run, settings, manifest["run"].get("tier", DEFAULT))
    with replacing_folder(output) as partial:
        model.save(str(partial), create_model_card=False)
        write_text(partial / CARD, model_card(manifest, metrics, settings))
    facts = manifest["run"]
    stage.say(f"{facts['dataset']}: {facts['row']}, seed {facts['seed']}: {output}")


if __name__ == "__main__":
    stage.command(main)
