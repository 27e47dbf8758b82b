"""One suite with a bit of all that suites can have, which most tests of the whole look at instead of running their own.

Two seeds a job; encoding and search in shares; rows of two tiers, tuned ones, one that starts from another, four that
go wrong and one that starts from one of these; the dataset evaluated a second time under another name without
training, sentences, and gates.
"""

import copy
from pathlib import Path
from typing import Any

from tiny import SUITE, copy_project, write_suite

BAD = {
    "raises": 'raise ZeroDivisionError("nothing to divide by")',
    "diverges": "pass",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "greedy": 'raise MemoryError("no room for 1 TiB")',
}
"""Rows that go wrong, by what each does at step 3; all of them return NaN if that lets them."""
METHOD = '''"""A method that goes wrong at step 3, in one of several ways."""

import os
import signal

import torch
from negmark.methods.base import Batch, Negatives, Step
from negmark.methods.inbatch import InBatch


class {name}(InBatch):
    """Goes wrong on purpose."""

    name = "{row}"
    title = "{name}"
    claims = ()

    def loss(self, step: Step) -> torch.Tensor:
        """Return the usual loss, until it is too late."""
        found = super().loss(step)
        if step.batch.step == 3 and not os.path.exists("healed"):
            {fault}
            return found * float("nan")
        return found
'''
GOOD: dict[str, Any] = {
    **SUITE["methods"],
    "bm25": None,
    "after": {"method": "random", "start": "inbatch"},
    "simans_finetune": {"method": "simans", "tier": "finetune", "depth": 10},
}
TRIED = ("inbatch", "random", "bm25", "simans")
"""Rows that are tuned, and so ranked."""
TUNED = {f"{row}_tuned" for row in TRIED}
PAIRS = [
    (5, "the name of a class", "the name of a class"), (3, "the name of a class", "the value of a class"),
    (1, "the name of a class", "the scope of a class"), (4, "the body of a class", "the code of a class"),
]  # fmt: skip
BM25 = {
    "dataset": "pydoc", "system": "bm25_search", "metric": "nDCG@10", "expected": 0.5, "tolerance": 0.99,
    "tokenizer": "words", "k1": 1.2, "b": 0.75, "fields": "title and text", "self_ids": "left out",
    "source": "a paper", "note": "",
}  # fmt: skip
DENSE = {
    **{key: value for key, value in BM25.items() if key not in ("k1", "b")},
    "system": "untrained",
    "length": 32,
}


def suite() -> dict[str, Any]:
    """Return the config of the suite."""
    made = copy.deepcopy(SUITE)
    made["data"] = "local"
    made["datasets"] = {
        "pydoc": {"source": "./pydoc", "dev_queries": 40},
        "again": {"source": "./pydoc", "trained_on": "pydoc"},
        "alike": {"kind": "sentences", "sts": ["mine"], "trained_on": "pydoc"},
    }
    made["encoder"]["query_length"] = 32
    made["training"]["curve_every"] = 4
    made["finetune"] = {"steps": 2, "batch_size": 4, "negatives": 1, "curve_every": 2}
    made["shards"] = {"encode": 3, "documents": 2, "queries": 2}
    made["methods"] = {
        **copy.deepcopy(GOOD),
        **dict.fromkeys(BAD),
        "heir": {"method": "simans", "start": "diverges"},
    }
    made["gates"] = {"words": dict(BM25), "vectors": dict(DENSE)}
    made["tuned"] = True
    made["tuning"] = {"rates": [1.0, 3.0], "methods": list(TRIED), "seeds": [10, 11]}
    made["seeds_per_job"] = 2
    return made


def plain() -> dict[str, Any]:
    """Return the config without the tuned rows, which are refused where what they were tuned under changes."""
    return {**suite(), "tuned": False}


def small() -> dict[str, Any]:
    """Return the config of three rows on the one dataset, for a board that is quickly made again."""
    made = {key: value for key, value in plain().items() if key != "tuning"}
    made["datasets"] = {"pydoc": made["datasets"]["pydoc"]}
    return {**made, "methods": copy.deepcopy(SUITE["methods"]), "gates": {}}


def furnish(folder: Path) -> None:
    """Write a project with the suite, its methods that go wrong and its pairs of sentences."""
    copy_project(folder)
    for row, fault in BAD.items():
        text = METHOD.format(name=row.capitalize(), row=row, fault=fault)
        (folder / "methods" / f"{row}.py").write_text(text)
    pairs = folder / "local" / "sts" / "mine"
    pairs.mkdir(parents=True)
    (pairs / "pairs.tsv").write_text("".join("\t".join(map(str, pair)) + "\n" for pair in PAIRS))
    write_suite(folder, suite())
