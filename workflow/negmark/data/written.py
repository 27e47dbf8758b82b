"""Stage written: texts by a small causal model that should not answer a training query, as JSON lines.

Two kinds: `written`, a passage on the query's topic that doesn't answer it, and `rewritten`, the positive changed so
that it no longer does. A small model often answers all the same, so its texts are judged before any of them may be a
negative (`negmark.train.judged_texts`): they are not a large model's, and not SyNeg's.

Generation is greedy: no seed. It goes batch by batch, prompts of like length together; finished batches are kept, so a
killed job goes on where it was. The cache's key is everything that decides a text: weights, tokenizer, prompts,
settings and library; on one kind of device.
"""

import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from typer import Option

from negmark.core import stage
from negmark.core.cache import alone
from negmark.core.files import canonical, copy, read_json, replacing, sha256_file, write_json
from negmark.core.folders import cache_folder
from negmark.data.causal_model import CausalModel, folder_of
from negmark.data.edited import pairs_of
from negmark.data.edits import SENTENCE_END, Pair
from negmark.encode.device import device
from negmark.encode.model_files import TOKENIZER, transformer_folder, weights_sha256

PROMPTS = {
    "written": "Write one or two sentences about the topic of this query. They must not answer the query.\n\n"
    "Query: {query}",
    "rewritten": "Rewrite this passage so that it no longer answers the query. Stay on the topic and change few words. "
    "Write only the new passage.\n\nQuery: {query}\n\nPassage: {document}",
}
"""What the model is asked for, by kind."""
PASSAGE_TOKENS = 128
"""Of a passage in a prompt; the rest is cut off."""


def prompt_hash(kind: str) -> str:
    """Return what identifies the prompt of a kind, before query and passage are put in: the start of its SHA-256."""
    return hashlib.sha256(PROMPTS[kind].encode()).hexdigest()[:16]


def cleaned(text: str, ended: bool) -> str:
    """Return the first paragraph of a text on one line; without its last sentence if the model didn't end it."""
    first = text.strip().split("\n\n")[0]
    line = " ".join(first.split()).strip('"')
    if ended or line != " ".join(text.split()).strip('"'):
        return line
    whole = SENTENCE_END.split(line)
    return " ".join(whole[:-1]) if len(whole) > 1 else line


def written(
    pairs: Sequence[Pair], folder: Path, settings: dict[str, Any], parts: Path
) -> list[dict[str, Any]]:
    """Return a line a text, by pair and kind; finished batches are kept in the folder `parts`."""
    model = CausalModel(folder)
    asked = [
        (place, kind, model.asked(PROMPTS[kind].format(
            query=pair.query, document=model.cut(pair.whole, PASSAGE_TOKENS)
        )))
        for place, pair in enumerate(pairs)
        for kind in PROMPTS
    ]  # fmt: skip
    order = np.argsort([len(prompt) for *_, prompt in asked], kind="stable")
    size = settings["batch"]
    found: dict[int, str] = {}
    batches = [order[start : start + size].tolist() for start in range(0, len(order), size)]
    for number, batch in enumerate(stage.progress(batches, f"writing {len(asked):,} texts")):
        part = parts / f"{number}.json"
        if not part.is_file():
            texts = model.continued([asked[one][2] for one in batch], settings["tokens"])
            write_json(part, [cleaned(*each) for each in texts])
        found |= dict(zip(batch, read_json(part), strict=True))
    name = f"{Path(settings['model']).name}@{weights_sha256(folder)[:12]}"
    return [
        {
            "query": pairs[place].query_id, "positive": pairs[place].document_id, "kind": kind, "number": 0,
            "text": found[one], "model": name, "prompt": prompt_hash(kind), "seed": None,
        }
        for one, (place, kind, _) in enumerate(asked)
        if found[one]
    ]  # fmt: skip


def key_of(pairs: Sequence[Pair], folder: Path, settings: dict[str, Any]) -> str:
    """Return a SHA-256 of everything that decides the texts."""
    texts = hashlib.sha256()
    for pair in pairs:
        texts.update(canonical([pair.query_id, pair.document_id, pair.query, pair.whole]).encode())
    decides = [
        weights_sha256(folder), sha256_file(transformer_folder(folder) / TOKENIZER), PROMPTS, PASSAGE_TOKENS,
        {key: settings[key] for key in ("tokens", "batch")}, torch.__version__,
        importlib.metadata.version("transformers"), device(), texts.hexdigest(),
    ]  # fmt: skip
    return hashlib.sha256(canonical(decides).encode()).hexdigest()


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="the model, and how it writes, as JSON")],
    output: Annotated[Path, Option(help="the JSON lines to write")],
    threads: Annotated[int, Option(help="threads of the model")] = 1,
) -> None:
    """Let a small causal model write texts for a dataset's training queries."""
    started, options = time.perf_counter(), json.loads(settings)
    torch.set_num_threads(threads)
    folder = folder_of(options["model"])
    pairs, _ = pairs_of(dataset)
    key = key_of(pairs, folder, options)
    cached = cache_folder() / "written" / f"{key[:32]}.jsonl"
    with alone(cached, "writes the same texts"):
        if not cached.is_file():
            parts = cache_folder() / "unfinished" / cached.stem
            lines = written(pairs, folder, options, parts)
            with replacing(cached) as partial:
                partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            shutil.rmtree(parts, ignore_errors=True)
    copy(cached, output)
    stage.say(f"texts by {options['model']} for {dataset.name}: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    stage.command(main)
