"""What the runs of a job read and never change: vectors, labels and pools, loaded once for all its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.core.files import read_json, sha256_file
from negmark.store import collection
from negmark.store.auxiliary import Auxiliary, read_auxiliary
from negmark.store.collection import HIDDEN
from negmark.store.copies import read_copies
from negmark.store.judgments import Judgments
from negmark.store.labels import Labels
from negmark.store.left_out import LeftOut, read_left_out
from negmark.store.pool import CandidatePool
from negmark.store.vectors import Vectors
from negmark.store.vectors import load as load_vectors


@dataclass(frozen=True)
class Materials:
    """What runs read and never change. Vectors are those of the encoder before training."""

    dataset: Path
    documents: Vectors
    queries: Vectors
    labels: Labels
    pools: Mapping[str, CandidatePool]
    judgments: Judgments | None = None
    """Scores by the cross-encoder that teaches."""
    judged_by: Path | None = None
    """The file that they were read from."""
    teacher: tuple[Vectors, Vectors] | None = None
    """Vectors of another encoder: documents and queries."""
    graded: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
    """Graded pairs beside the labels: rows [P, 2] of queries, and scores [P]."""
    auxiliary: Auxiliary | None = None
    """Texts that are in no corpus."""


def load_materials(
    dataset: Path,
    vectors: Path,
    pools: Mapping[str, CandidatePool],
    teacher: Path | None = None,
    judgments: Path | None = None,
    auxiliary: Sequence[Path] = (),
) -> Materials:
    """Read labels and vectors; `teacher` is the folder of another encoder's vectors, `judgments` a ranker's scores.

    `auxiliary` are tables of texts beside the corpus.
    """
    documents, queries = load_vectors(vectors)
    labels = Labels(collection.qrels(dataset, "train"), len(documents), read_left_out(dataset))
    rows, scores = collection.graded_pairs(dataset)
    return Materials(
        dataset,
        documents,
        queries,
        labels,
        pools,
        teacher=load_vectors(teacher) if teacher else None,
        graded=(rows, scores) if len(rows) else None,
        judgments=Judgments(judgments) if judgments else None,
        judged_by=judgments,
        auxiliary=read_auxiliary(auxiliary) if auxiliary else None,
    )


def taught(materials: Materials, judgments: Path | None) -> Materials:
    """Return materials with a cross-encoder's scores of a file, which is read only where they have another's."""
    if judgments in (None, materials.judged_by):
        return materials
    assert judgments is not None
    return replace(materials, judgments=Judgments(judgments), judged_by=judgments)


def hidden_labels(materials: Materials) -> Labels:
    """Read the positives that the dataset hides from training, if any, with their copies: for controls only."""
    hidden = collection.qrels(materials.dataset, HIDDEN)
    return Labels(hidden, materials.labels.documents, LeftOut(read_copies(materials.dataset)))


def origins(
    dataset: Path, vectors: Path, teacher: Path | None = None, auxiliary: Sequence[Path] = ()
) -> dict[str, Any]:
    """Return what the data of runs came from: the dataset's card, and the keys of vectors and of the teacher's.

    And, where there are texts beside the corpus, their tables with the checksum of each, in the order of their rows.
    """
    return {
        "dataset": read_json(dataset / "card.json"),
        "vectors": _key(vectors),
        "teacher": _key(teacher) if teacher else None,
        **({"auxiliary": {str(path): sha256_file(path) for path in auxiliary}} if auxiliary else {}),
    }


def _key(vectors: Path) -> str:
    return str(read_json(vectors / "embeddings.json")["key"])


def judgments_of(option: str, count: int) -> list[Path | None]:
    """Return the scores that an option lists for each seed: one file for all, or one each; None where it lists none."""
    files: list[Path | None] = [Path(file) for file in option.split()]
    return files if len(files) == count else (files or [None]) * count


def models_of(option: str, count: int) -> list[Path | None]:
    """Return the models that an option lists, one a seed; None for each where it lists none."""
    return [Path(model) for model in option.split()] or [None] * count
