"""The made dataset with texts and a tiny transformer: what a run of the finetune tier needs."""

import json
from pathlib import Path

import numpy as np

from builders import Bench, tiny_model
from negmark.store.pool import CandidatePool
from negmark.train.inputs import load_materials
from negmark.train.run import set_up
from negmark.train.step import _example
from negmark.train.tiers import finetune

TRAINING = {
    "steps": 6, "batch_size": 8, "negatives": 3, "learning_rate": 1e-2, "warmup": 0.1, "weight_decay": 0.0,
    "temperature": 0.05, "checkpoint_steps": 2, "accumulation": 1, "dropout": None, "precision": "float32",
    "chunk_tokens": 64, "chunk_gradients": False, "processes": 1, "threads": 1,
}  # fmt: skip


class Texts(Bench):
    """The made dataset with the vectors of a tiny transformer for its texts."""

    def __init__(self, folder: Path, model: Path | None = None) -> None:
        super().__init__(folder)
        self.model = model or tiny_model(folder / "model")
        self.settings = {
            "model": str(self.model), "query_length": 16, "document_length": 16, "query_prompt": "",
            "document_prompt": "", "dtype": "float32", "similarity": "cosine",
        }  # fmt: skip
        encoder = finetune.Encoder(self.model, "float32")
        tokens = finetune.tokens_of_sides(self.dataset, json.dumps(self.settings))
        for side, name in (("document", "documents"), ("query", "queries")):
            np.save(self.vectors / f"{name}.npy", encoder.encode(tokens[side]))

    def spec(self, method="simans", seed=0, row=None, track="controlled", **training):
        spec = super().spec(method, seed, row)
        extra = {"track": track} if track == "faithful" else {}
        return {
            **spec, **extra, "tier": "finetune", "encoder": self.settings, "training": {**TRAINING, **training},
        }  # fmt: skip

    def run(self, method="inbatch", track="controlled", start=None, **training):
        pools = {"dense": CandidatePool(self.pool)}
        materials = load_materials(self.dataset, self.vectors, pools)
        return set_up(self.spec(method, track=track, **training), materials, start)


def gradients(run):
    """The gradient of the first step's loss, without a step of the optimiser."""
    run.encoder.begin(0, 0)
    example = _example(run, 0)
    loss = run.method.loss(example)
    run.encoder.backward(loss)
    return loss.item(), {
        name: parameter.grad.clone()
        for name, parameter in run.encoder.named_parameters()
        if parameter.grad is not None
    }
