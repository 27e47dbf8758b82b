"""Stage to_judge: what to ask a judge, so that false negatives are found: a prompt for each training query.

A line has the query, its positives, the pool's best candidates, and a prompt with all of them for a language model of
yours. The lines that it answers, one after the other, are a file of verdicts (`verdicts:` of a dataset). `--truth`
writes such a file without asking anybody, from the positives that a dataset of known truth hides: what a judge who is
always right would say of these candidates.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import write_json_lines
from negmark.store import collection
from negmark.store.collection import HIDDEN, QUERIES, joined
from negmark.store.passages import Passage, read_passages
from negmark.store.pool import read_arrays

DEPTH, QUERIES_AT_A_TIME = 20, 1024
PROMPT = """\
A search engine is trained on the question below and on one passage that answers it. The numbered candidates were \
retrieved for the same question and are about to be used as wrong answers. Some of them may be right.

Compare each candidate with the known passage. A candidate is relevant only if it answers the question by itself, with \
all that the known passage says to it; being on the same topic is not enough.

- "better": relevant, and as good as the known passage or better
- "worse": relevant, but less good than the known passage
- "irrelevant": anything else

Answer with one JSON object a line for each candidate, and with nothing else:
{{"query": {query_id}, "document": "<id of the candidate>", "verdict": "better" or "worse" or "irrelevant"}}

Question: {query}

Known passage:
{positives}

Candidates:
{documents}
"""
"""After the criteria of RLHN's prompts (castorini/rlhn), in words of our own."""


def prompts(dataset: Path, pool: Path, depth: int) -> Iterator[dict[str, Any]]:
    """Yield what to ask about each training query's first `depth` candidates; queries without any are left out."""
    arrays = read_arrays(pool)
    queries, ids = arrays["queries"].astype(np.int64), arrays["ids"][:, :depth].astype(np.int64)
    labels = collection.qrels(dataset, "train").positives()
    positives = pd.Series(labels.documents).groupby(labels.queries).apply(lambda part: sorted(set(part)))
    names, texts = (collection.column(dataset, QUERIES, key) for key in ("id", "text"))
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        rows = range(start, min(start + QUERIES_AT_A_TIME, len(queries)))
        wanted = [ids[row][ids[row] >= 0] for row in rows]
        known = [np.array(positives[queries[row]], np.int64) for row in rows]
        passages = read_passages(dataset, np.concatenate([*wanted, *known]))
        for row, candidates, own in zip(rows, wanted, known, strict=True):
            if len(candidates):
                query = int(queries[row])
                yield asked(
                    names[query], texts[query], *(_passages(passages, part) for part in (own, candidates))
                )


def asked(name: str, query: str, positives: list[Passage], documents: list[Passage]) -> dict[str, Any]:
    """Return the line of a query: what it is about, and the prompt."""
    known, candidates = ([_shown(one) for one in part] for part in (positives, documents))
    return {
        "query": name,
        "text": query,
        "positives": known,
        "documents": candidates,
        "prompt": PROMPT.format(
            query_id=json.dumps(name, ensure_ascii=False),
            query=query,
            positives="\n".join(one["text"] for one in known),
            documents="\n".join(f"[{one['id']}] {one['text']}" for one in candidates),
        ),
    }


def truth(dataset: Path, pool: Path, depth: int) -> Iterator[dict[str, Any]]:
    """Yield a verdict on each of the first `depth` candidates by the hidden labels. Raises `UserError` without any."""
    hidden = collection.qrels(dataset, HIDDEN).positives()
    if not len(hidden.queries):
        raise UserError(f"{dataset.name}: it hides no positives, so the truth isn't known; add `hide:`")
    arrays, width = read_arrays(pool), collection.count(dataset)
    known = np.unique(hidden.queries * width + hidden.documents)
    names, documents = (collection.column(dataset, table, "id") for table in (QUERIES, collection.DOCUMENTS))
    for query, row in zip(arrays["queries"].tolist(), arrays["ids"][:, :depth].astype(np.int64), strict=True):
        real = row[row >= 0]
        for document, is_hidden in zip(real.tolist(), np.isin(query * width + real, known), strict=True):
            verdict = "relevant" if is_hidden else "irrelevant"
            yield {
                "query": names[query],
                "document": documents[document],
                "verdict": verdict,
                "judge": "hidden labels",
            }


def main(
    pool: Annotated[Path, Option(help="the dense pool whose candidates are judged")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    output: Annotated[Path, Option(help="the JSONL file to write")],
    depth: Annotated[int, Option(help="candidates a query")] = DEPTH,
    by_truth: Annotated[bool, Option("--truth", help="write verdicts by the hidden labels")] = False,
) -> None:
    """Write prompts for a judge, or the verdicts of the truth."""
    lines = write_json_lines(output, (truth if by_truth else prompts)(dataset, pool, depth))
    what = "verdicts by the hidden labels" if by_truth else "prompts, one a training query"
    stage.say(f"{dataset.name}: {lines:,} {what}: {output}")


def _passages(found: Any, rows: NDArray[np.int64]) -> list[Passage]:
    return [found[row] for row in rows.tolist()]


def _shown(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "text": joined([passage.title], [passage.text])[0]}


if __name__ == "__main__":
    stage.command(main)
