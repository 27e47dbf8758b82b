"""The README.md of an exported model: what it is, what it was trained from, how to load it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negmark.core.folders import is_folder
from negmark.core.notation import plain
from negmark.core.tiers import DEFAULT, TIERS, TRACKS
from negmark.methods import registry

CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, sentence-similarity, feature-extraction, negmark]
---

# {title} on {dataset}

A retriever that negmark, a benchmark of ways to choose negatives, trained on the dataset {dataset}.
{summary}

{table}

## Load it

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
queries = model.encode_query(["a question"])
documents = model.encode_document(["Title of a document and its text"])
scores = model.similarity(queries, documents)
```

Take `encode_query` and `encode_document` rather than `encode`: the sides may differ in weights, prompt and length.
A document is its title, a space and its text. sentence-transformers 6 or newer is needed.

## Cite the method

{citation}
"""


def model_card(manifest: Mapping[str, Any], metrics: Mapping[str, Any], encoder: Mapping[str, Any]) -> str:
    """Return the card in Markdown from a run's manifest, its metrics ({} if none) and its encoder's settings.

    It contains no paths: an encoder in a folder is called by the folder's name.
    """
    run = manifest["run"]
    method = registry.available()[run["method"]]
    start = _start(metrics.get("start", encoder["model"]), manifest["data"].get("start"))
    rows = {**_rows(run, encoder), "started from": plain(start), **_results(metrics)}
    return CARD.format(
        title=plain(metrics.get("title", method.title)),
        dataset=plain(run["dataset"]),
        summary=plain(method.summary()),
        table="\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]),
        citation=plain(method.citation),
    )


def _start(text: str, sha256: str | None) -> str:
    """Return the encoder that training started from; `sha256` is of the earlier run's model that it continued."""
    model, comma, rest = text.partition(",")
    folder = Path(os.path.expanduser(model))  # noqa: PTH111 (never raises)
    further = f"; trained further from the run whose model has SHA-256 {sha256}" if sha256 else ""
    return f"{folder.name if is_folder(folder) else model}{comma}{rest}{further}"


def _rows(run: Mapping[str, Any], encoder: Mapping[str, Any]) -> dict[str, Any]:
    tier, track = run.get("tier", DEFAULT), run.get("track", "controlled")
    return {
        "row": run["row"],
        "dataset": run["dataset"],
        "suite": run["suite"],
        "seed": run["seed"],
        "tier": f"{tier}: {TIERS[tier].trained}",
        "track": f"{track}: {TRACKS[track]}",
        "reads": f"{encoder['query_length']} tokens of a query, {encoder['document_length']} of a document",
    }


def _results(metrics: Mapping[str, Any]) -> dict[str, str]:
    first = metrics.get("metrics", [""])[0]
    rows = {
        f"{first}, {name}": f"{values[first]:.4f} on {values['queries']} test queries"
        for name, values in metrics.get("slices", {}).items()
    }
    if adaptations := metrics.get("adaptations"):
        rows["differs from the paper"] = plain("; ".join(adaptations))
    return rows
