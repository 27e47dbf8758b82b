"""Stage dataset: get a collection in BEIR layout, check it, split it, and describe it on a card."""

import hashlib
import importlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import canonical, write_json
from negmark.core.folders import expanded, local_data
from negmark.core.relations import RELATIONS
from negmark.core.seeds import stream
from negmark.data import hub, ir_dataset
from negmark.data.archive import unpack
from negmark.data.beir import fetch_beir, find_local
from negmark.data.catalogue import known_datasets
from negmark.data.elsewhere import HUB, IR_DATASETS, prefix_of, short_name
from negmark.data.fingerprint import check_fingerprint, collection_sha256
from negmark.data.icd10cm import build_icd10cm
from negmark.data.marco_qa import files_of, write_beir
from negmark.data.mixture import write_mixture
from negmark.data.numbering import Reading, read, read_documents, without_positives
from negmark.data.records import Records
from negmark.data.sts import Pair, as_queries, read_task
from negmark.data.wordnet import build_wordnet
from negmark.store.collection import DOCUMENTS, HIDDEN, QRELS, QUERIES, RELEVANT, SPLITS, joined, write_table
from negmark.store.copies import COPY_OF, first_of_equal, hashes_of
from negmark.store.graph import Graph, as_columns, relation_of
from negmark.store.left_out import OWN, own_documents
from negmark.store.sources import source_of

BUILDERS = {"wordnet": build_wordnet, "icd10cm": build_icd10cm}
"""The builders of collections that nobody publishes, by name."""
FETCHERS = {IR_DATASETS: ir_dataset.fetch, HUB: hub.fetch}
"""What gets a source that another package knows by its name, by the prefix of the source."""
MINIMUM_TRAINING_QUERIES = 50
MINIMUM_SHARE_OF_PAIRS = 0.1


@dataclass(frozen=True)
class Collection:
    """A dataset in memory. Qrels are one [rows, 3] array of query, document and grade per split."""

    document_ids: Sequence[str]
    titles: Sequence[str]
    texts: Sequence[str]
    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, NDArray[np.int64]]
    relevant: Mapping[str, int] = field(default_factory=dict)
    """The least relevant grade per split; 1 where a split is missing."""
    graph: Graph = field(default_factory=dict)
    """Relations between documents, if the dataset has any."""
    keeps_copies: bool = False
    """Whether documents with the text of a positive may be negatives."""


def with_test(collection: Collection, count: int, seed: int, name: str) -> Collection:
    """Move `count` training queries that have a relevant document, drawn by seed, to a new test split."""
    train = collection.qrels.get("train", np.empty((0, 3), np.int64))
    answered = np.unique(train[train[:, 2] >= collection.relevant.get("train", 1), 0])
    if count > len(answered) // 2:
        raise UserError(
            f"datasets.{name}.test_queries: {count:,} is more than half of the {len(answered):,} training queries "
            "with a relevant document; lower it"
        )
    is_test = np.isin(train[:, 0], stream(seed, "test split").permutation(answered)[:count])
    return replace(collection, qrels={**collection.qrels, "train": train[~is_test], "test": train[is_test]})


def with_dev(collection: Collection, most: int, seed: int) -> Collection:
    """Move training queries to a dev split, if there is none: `most` of them, and at most a tenth."""
    if "dev" in collection.qrels or "train" not in collection.qrels or not most:
        return collection
    train = collection.qrels["train"]
    queries = np.unique(train[:, 0])
    count = min(most, len(queries) // 10)
    chosen = stream(seed, "dev split").permutation(queries)[:count]
    is_dev = np.isin(train[:, 0], chosen)
    return replace(collection, qrels={**collection.qrels, "train": train[~is_dev], "dev": train[is_dev]})


def strict(collection: Collection, name: str) -> Collection:
    """Drop training pairs whose document is a positive of a test query: every test query is then unseen.

    Pairs of a query that is tested, under its id or by its text, go too.

    Refused if fewer than 50 training queries or a tenth of the pairs are left: that would be another dataset, of
    odd documents that no test query is about (NFCorpus keeps 3.7 % of its pairs).
    """
    all_pairs = collection.qrels.get("train", np.empty((0, 3), np.int64))
    tested = np.isin(all_pairs[:, 1], _positives(collection, "test"))
    train = all_pairs[~tested & ~np.isin(all_pairs[:, 0], _asked_again(collection))]
    left = len(np.unique(train[train[:, 2] >= collection.relevant.get("train", 1), 0]))
    if left < MINIMUM_TRAINING_QUERIES:
        raise UserError(
            f"datasets.{name}: regime strict leaves {left} training queries, fewer than "
            f"{MINIMUM_TRAINING_QUERIES}: nearly every training positive is a test positive too; use standard"
        )
    if len(train) < MINIMUM_SHARE_OF_PAIRS * len(all_pairs):
        raise UserError(
            f"datasets.{name}: regime strict leaves {len(train):,} of {len(all_pairs):,} training pairs, fewer "
            f"than {MINIMUM_SHARE_OF_PAIRS:.0%}: nearly every training positive is a test positive too; use standard"
        )
    return replace(collection, qrels={**collection.qrels, "train": train})


def with_train_queries(collection: Collection, count: int | None, seed: int) -> Collection:
    """Keep a seeded draw of the training queries, with all their labels."""
    train = collection.qrels.get("train")
    if count is None or train is None:
        return collection
    chosen = stream(seed, "training queries").permutation(np.unique(train[:, 0]))[:count]
    return replace(collection, qrels={**collection.qrels, "train": train[np.isin(train[:, 0], chosen)]})


def with_documents(collection: Collection, count: int | None, seed: int, name: str) -> Collection:
    """Keep every labelled document and fill up to `count` with a seeded draw of the others."""
    total = len(collection.document_ids)
    if count is None or count >= total:
        return collection
    labelled = np.unique(np.concatenate([rows[:, 1] for rows in collection.qrels.values()]))
    if len(labelled) > count:
        raise UserError(
            f"datasets.{name}.documents: {count} is fewer than the {len(labelled)} labelled documents; "
            "raise it or lower train_queries"
        )
    others = np.setdiff1d(np.arange(total), labelled)
    drawn = stream(seed, "documents").permutation(others)[: count - len(labelled)]
    return _with_rows(collection, np.sort(np.concatenate([labelled, drawn])))


def slices(collection: Collection) -> list[str | None]:
    """Return the slice of each query: `seen` if one of its test positives is also a training positive, else `unseen`.

    A test query that training has under the same id, with whatever positives, is seen too. Training positives are those
    that training sees: a hidden label makes no test query seen. None for queries outside the test split, and for all
    queries of a dataset without a training split.
    """
    if "train" not in collection.qrels:
        return [None] * len(collection.query_ids)
    trained, asked = _positives(collection, "train"), _answered(collection, "train")
    test = collection.qrels["test"]
    test = test[test[:, 2] >= collection.relevant.get("test", 1)]
    seen = {*test[np.isin(test[:, 1], trained), 0].tolist(), *asked.tolist()}
    tested = set(collection.qrels["test"][:, 0].tolist())
    return [
        ("seen" if query in seen else "unseen") if query in tested else None
        for query in range(len(collection.query_ids))
    ]


def prepare(settings: dict[str, Any]) -> tuple[Collection, dict[str, Any]]:
    """Get, check and cut a dataset. Returns it with the facts of its card.

    The cuts are made on row numbers; only the texts of the documents that are kept are ever in memory.
    """
    name, source, seed = settings["name"], settings["source"], settings["seed"]
    test_only, test_split = settings.get("test_only", False), settings.get("test_split", "test")
    with tempfile.TemporaryDirectory(prefix="negmark-") as temporary:
        if mixed := settings.get("mix"):
            records, facts = _mixture(mixed, Path(temporary), name, test_split)
        else:
            records, facts = _opened(source, Path(temporary), test_split)
        records.check()
        facts["sha256"] = _checked_sha256(source, records, test_split)
        test_queries = _test_queries(settings, records)
        reading = read(records, None if test_queries else test_split)
        full = _numbered(reading, settings.get("relevant_grade", {}))
        if test_queries:
            full = with_test(full, test_queries, seed, name)
        collection = _test_alone(full) if test_only else _cut_training(full, settings)
        collection = with_documents(
            _without_unlabelled_queries(collection), settings["documents"], seed, name
        )
        collection = _with_texts(collection, records, reading.documents.repeated)
        collection = replace(collection, graph=_graph(records, collection.document_ids))
    if not test_only and ("train" not in collection.qrels or not len(_positives(collection, "train"))):
        raise UserError(
            f"datasets.{name}: {source} has no training labels, so nothing can be trained on it; "
            "set `trained_on` to the dataset whose runs are to be evaluated on it"
        )
    if not len(_positives(collection, "test")):
        raise UserError(
            f"datasets.{name}: no test query of {source} has a relevant document; a board needs at least one"
        )
    collection = replace(collection, keeps_copies=settings.get("copies") == "kept")
    collection, truth = _with_hidden(collection, settings)
    odd = reading.met | without_positives(full.qrels, full.relevant)
    by_source = _dev_by_source(collection, settings)
    return collection, {**facts, **_card(collection, full, settings), **by_source, **truth, "odd": odd}


def write(collection: Collection, folder: Path, columns: Mapping[str, list[Any]] | None = None) -> None:
    """Write the three tables of a prepared dataset; `columns` are those of the queries besides id and text."""
    hashes = hashes_of(joined(collection.titles, collection.texts))
    own = own_documents(collection.query_ids, hashes_of(collection.queries), collection.document_ids, hashes)
    write_table(
        folder / DOCUMENTS,
        {
            "id": collection.document_ids,
            "title": collection.titles,
            "text": collection.texts,
            COPY_OF: _copy_of(collection, hashes),
            **as_columns(collection.graph),
        },
    )
    write_table(
        folder / QUERIES,
        {
            "id": collection.query_ids,
            "text": collection.queries,
            OWN: pa.array(own, pa.list_(pa.int32())),
            **(columns or {"slice": slices(collection)}),
        },
    )
    rows = {name: collection.qrels[name] for name in (*SPLITS, HIDDEN) if name in collection.qrels}
    labels = np.concatenate(list(rows.values()))
    write_table(
        folder / QRELS,
        {
            "split": np.repeat(list(rows), [len(part) for part in rows.values()]).tolist(),
            "query": labels[:, 0].astype(np.int32),
            "document": labels[:, 1].astype(np.int32),
            "grade": labels[:, 2].astype(np.int32),
        },
        {RELEVANT: canonical(dict(collection.relevant)).encode()} if collection.relevant else None,
    )


def _copy_of(collection: Collection, hashes: NDArray[np.uint64]) -> pa.Array:
    """Return the column of copies, given the hashes [N] of texts; all null where they are kept as negatives."""
    first = first_of_equal(hashes)
    return pa.array(first.astype(np.int32), mask=(first < 0) | collection.keeps_copies)


def main(
    settings: Annotated[str, Option(help="settings of one dataset, as JSON")],
    folder: Annotated[Path, Option(help="where the tables and the card go")],
) -> None:
    """Prepare a dataset: documents, queries and labels as parquet tables, and its card."""
    dataset = json.loads(settings)
    collection, card = prepare(dataset)
    graded = {task: read_task(task, local_data()) for task in dataset.get("graded", [])}
    both, columns = _with_graded(collection, graded)
    write(both, folder, columns)
    write_json(folder / "card.json", {**card, **_graded_card(graded)})
    queries = card["queries"]
    training = (
        f"{queries['train']:,} training and {queries['test']:,} test queries "
        f"({card['seen_test_queries']:,} seen, {card['unseen_test_queries']:,} unseen)"
    )
    stage.say(
        f"dataset {card['name']}: {card['documents']:,} documents, "
        f"{training if queries['train'] else format(queries['test'], ',') + ' test queries'}, from {card['source']}"
    )
    dev = card.get("mixed_dev", {})
    if without := [source for source, count in dev.items() if not count]:
        having = ", ".join(source for source in dev if source not in without)
        stage.say(
            f"dataset {card['name']}: its dev queries are from {having} alone, none from {', '.join(without)}: what is "
            "chosen by them is chosen for the former"
        )
    if card["odd"]:
        odd = ", ".join(f"{count:,} {kind}" for kind, count in card["odd"].items())
        stage.say(f"dataset {card['name']}: {odd} (`negmark.data.numbering` says how they are handled)")


def _with_graded(
    collection: Collection, tasks: dict[str, list[Pair]]
) -> tuple[Collection, dict[str, list[Any]]]:
    """Append graded pairs to the queries, without a slice. Returns also the further columns of the queries."""
    ids, texts, pair_columns = as_queries(tasks)
    both = replace(collection, query_ids=[*collection.query_ids, *ids], queries=[*collection.queries, *texts])
    columns: dict[str, list[Any]] = {"slice": [*slices(collection), *[None] * len(ids)]}
    if tasks:
        columns["score"] = [*[None] * len(collection.query_ids), *pair_columns["score"]]
    return both, columns


def _graded_card(tasks: dict[str, list[Pair]]) -> dict[str, Any]:
    if not tasks:
        return {}
    content = canonical(tasks).encode("utf-8", "surrogatepass")
    counts = {task: len(pairs) for task, pairs in tasks.items()}
    return {"graded_pairs": counts, "graded_sha256": hashlib.sha256(content).hexdigest()}


def _test_queries(settings: dict[str, Any], records: Records) -> int | None:
    """Return how many training queries become the test split, or None if the dataset's own test split is used."""
    if count := settings.get("test_queries"):
        if settings.get("test_split", "test") in records.splits():
            raise UserError(
                f"datasets.{settings['name']}.test_queries: {records.name()} has a test split of its own; leave it out"
            )
        return int(count)
    return None


def _cut_training(full: Collection, settings: dict[str, Any]) -> Collection:
    """Set a dev split aside, drop pairs by the regime, and draw training queries."""
    collection = with_dev(full, settings["dev_queries"], settings["seed"])
    if settings["regime"] == "strict":
        collection = strict(collection, settings["name"])
    return with_train_queries(collection, settings["train_queries"], settings["seed"])


def _with_hidden(
    collection: Collection, settings: dict[str, Any]
) -> tuple[Collection, dict[str, dict[str, Any]]]:
    """Hide from training what the settings say. Returns also the facts for the card."""
    if not settings.get("hide"):
        return collection, {}
    # imported by name, so that only a dataset that hides labels depends on these source files (`Dataset.preparers`)
    hide = importlib.import_module("negmark.data.hidden").hide
    texts = joined(collection.titles, collection.texts), collection.queries
    below = np.array([0, 0, collection.relevant.get("train", 1) - 1])  # then a grade above 0 is relevant
    kept, hidden, facts = hide(collection.qrels["train"] - below, settings, texts, collection.graph)
    split = replace(collection, qrels={**collection.qrels, "train": kept + below, HIDDEN: hidden + below})
    return _without_unlabelled_queries(split), {"hidden": facts}


def _test_alone(full: Collection) -> Collection:
    """Keep only the labels of the test split, for a dataset on which nothing is trained."""
    return replace(full, qrels={"test": full.qrels["test"]})


def _opened(source: str, temporary: Path, test_split: str) -> tuple[Records, dict[str, Any]]:
    """Return the records of a source, and its facts; what is written for that goes to `temporary`."""
    place, facts = _fetch(source, temporary, test_split)
    shown = _path_shown(source, place)
    if files := files_of(place):
        place = temporary / "converted"
        write_beir(files, place, shown)
    return Records(place, shown), facts


def _mixture(
    mixed: Mapping[str, str | None], temporary: Path, name: str, test_split: str
) -> tuple[Records, dict[str, Any]]:
    """Return the records of several sources as one, and their facts."""
    opened = {key: _opened(source or key, temporary / key, test_split) for key, source in mixed.items()}
    for records, _ in opened.values():
        records.check()
    folder = temporary / "mixture"
    folder.mkdir()
    counts = write_mixture({key: records for key, (records, _) in opened.items()}, folder, test_split)
    facts = {
        "source": "a mixture of " + ", ".join(found["source"] for _, found in opened.values()),
        "licence": "; ".join(dict.fromkeys(found["licence"] for _, found in opened.values())),
        "mixed": counts,
    }
    return Records(folder, name), facts


def _fetch(source: str, temporary: Path, test_split: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder with a source's files, and its facts (`source`, `licence`, `built`).

    Files that are built, downloaded or unpacked go to a folder in `temporary`.
    """
    folder = temporary / "collection"
    folder.mkdir(parents=True)
    if prefix := prefix_of(source):
        return folder, dict(FETCHERS[prefix](source, folder, test_split))
    if source in BUILDERS:
        facts: dict[str, Any] = BUILDERS[source](folder, local_data())
        return folder, {**facts, "built": known_datasets()[source].built}
    if known := known_datasets().get(source):
        if local := find_local(source, local_data()):
            return local, {"source": "local data setting", "licence": known.licence}
        return folder, dict(fetch_beir(source, folder))
    path, owner = expanded(source).resolve(), {"licence": "as its owner states"}
    if path.is_dir():
        return path, {"source": f"own folder {path.name}", **owner}
    if not path.is_file():
        raise UserError(
            f"{source}: there is no such folder or archive; name one with a dataset in BEIR layout"
        )
    unpack(path, folder)
    return folder, {"source": f"own archive {path.name}", **owner}


def _path_shown(source: str, place: Path) -> str:
    """Return the name of the folder in messages: the path that the user knows, not that of a temporary copy."""
    published = source in known_datasets() and source not in BUILDERS
    return str(place) if published and find_local(source, local_data()) else source


def _checked_sha256(source: str, records: Records, test_split: str) -> str:
    """Return the hash of the content, test labels included. Raises `UserError` if another one is recorded."""
    known = known_datasets().get(source)
    splits = SPLITS if test_split in SPLITS else (*SPLITS, test_split)
    sha256 = collection_sha256(records.folder, splits, records.name())
    if known and known.sha256:
        usual = sha256 if splits == SPLITS else collection_sha256(records.folder, shown=records.name())
        check_fingerprint(source, usual, known.sha256)
    return sha256


def _shown_name(source: str) -> str:
    """Return a source's name on the card: its known name, or that of the folder, even if given as `.` or `..`."""
    if prefix_of(source):
        return short_name(source)
    return source if source in known_datasets() else expanded(source).resolve().name


def _numbered(reading: Reading, relevant: Mapping[str, int]) -> Collection:
    """Return a collection with row numbers in place of the ids, titles and texts of documents."""
    rows: Any = range(reading.documents.total)
    return Collection(rows, rows, rows, reading.query_ids, reading.queries, reading.qrels, relevant)


def _with_texts(collection: Collection, records: Records, repeated: NDArray[np.int64]) -> Collection:
    """Read the ids, titles and texts of the documents that are row numbers so far."""
    rows: Any = collection.document_ids
    documents = list(read_documents(records, rows, repeated))
    return replace(
        collection,
        document_ids=[document.id for document in documents],
        titles=[document.title for document in documents],
        texts=[document.text for document in documents],
    )


def _graph(records: Records, document_ids: Sequence[str]) -> Graph:
    """Return the relations between documents that are kept, by row."""
    rows = {name: row for row, name in enumerate(document_ids)}
    pairs: dict[str, list[tuple[int, int]]] = {}
    for _, document, other, relation in records.relations():
        kept = pairs.setdefault(relation, [])
        if document in rows and other in rows:
            kept.append((rows[document], rows[other]))
    return {name: relation_of(pairs[name], len(rows)) for name in RELATIONS if name in pairs}


def _positives(collection: Collection, split: str) -> NDArray[np.int64]:
    rows = collection.qrels.get(split, np.empty((0, 3), np.int64))
    return np.unique(rows[rows[:, 2] >= collection.relevant.get(split, 1), 1])


def _answered(collection: Collection, split: str) -> NDArray[np.int64]:
    """Return the queries of a split that have a positive."""
    rows = collection.qrels.get(split, np.empty((0, 3), np.int64))
    return np.unique(rows[rows[:, 2] >= collection.relevant.get(split, 1), 0])


def _asked_again(collection: Collection) -> NDArray[np.int64]:
    """Return the queries with positives for training that are tested too, or have the text of one that is."""
    asked, tested = _answered(collection, "train"), np.unique(collection.qrels["test"][:, 0])
    texts = hashes_of(collection.queries)
    return asked[np.isin(texts[asked], texts[tested])]


def _with_rows(collection: Collection, documents: NDArray[np.int64]) -> Collection:
    """Keep these document rows, in their order, and renumber the labels."""
    new_row = np.full(len(collection.document_ids), -1)
    new_row[documents] = np.arange(len(documents))
    return replace(
        collection,
        document_ids=[collection.document_ids[row] for row in documents],
        titles=[collection.titles[row] for row in documents],
        texts=[collection.texts[row] for row in documents],
        qrels={
            split: np.column_stack([rows[:, 0], new_row[rows[:, 1]], rows[:, 2]])
            for split, rows in collection.qrels.items()
        },
    )


def _without_unlabelled_queries(collection: Collection) -> Collection:
    """Drop queries without a label in any split, and renumber."""
    used = np.unique(np.concatenate([rows[:, 0] for rows in collection.qrels.values()]))
    new_row = np.full(len(collection.query_ids), -1)
    new_row[used] = np.arange(len(used))
    return replace(
        collection,
        query_ids=[collection.query_ids[row] for row in used],
        queries=[collection.queries[row] for row in used],
        qrels={
            split: np.column_stack([new_row[rows[:, 0]], rows[:, 1:]])
            for split, rows in collection.qrels.items()
        },
    )


def _card(collection: Collection, full: Collection, settings: dict[str, Any]) -> dict[str, Any]:
    query_slices = slices(collection)
    return {
        "name": settings["name"],
        "dataset": _shown_name(settings["source"]),
        "regime": settings.get("regime", "zero-shot"),
        "documents": len(collection.document_ids),
        "documents_full": len(full.document_ids),
        "queries": {name: _count(collection, name) for name in SPLITS},
        "queries_full": {name: _count(full, name) for name in SPLITS},
        "labels": {name: len(collection.qrels.get(name, ())) for name in SPLITS},
        "graded": bool(max(rows[:, 2].max(initial=0) for rows in collection.qrels.values()) > 1),
        "seen_test_queries": query_slices.count("seen"),
        "unseen_test_queries": query_slices.count("unseen"),
        "ids_sha256": {
            "documents": _ids_sha256(collection.document_ids),
            "queries": _ids_sha256(collection.query_ids),
        },
        **({"relations": relations} if (relations := _relations(collection)) else {}),
        **({"relevant_grade": dict(collection.relevant)} if collection.relevant else {}),
        **({"test_split": settings["test_split"]} if settings.get("test_split", "test") != "test" else {}),
        **({"copies_kept": True} if collection.keeps_copies else {}),
        **({"test_queries": settings["test_queries"]} if settings.get("test_queries") else {}),
    }


def _dev_by_source(collection: Collection, settings: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Count the dev queries of each source of a mixture: where one brings a dev split, the others have none."""
    if not settings.get("mix") or "dev" not in collection.qrels:
        return {}
    counts = Counter(source_of(collection.query_ids[row]) for row in np.unique(collection.qrels["dev"][:, 0]))
    return {"mixed_dev": {name: counts[name] for name in settings["mix"]}}


def _relations(collection: Collection) -> dict[str, int]:
    """Count the pairs of related documents, by relation."""
    return {name: int(related.nnz) for name, related in collection.graph.items()}


def _ids_sha256(ids: Sequence[str]) -> str:
    """Return the hash of a table's column `id`, one id per line: equal for equal subsets."""
    return hashlib.sha256("".join(f"{name}\n" for name in ids).encode()).hexdigest()


def _count(collection: Collection, split: str) -> int:
    return len(np.unique(collection.qrels[split][:, 0])) if split in collection.qrels else 0


if __name__ == "__main__":
    stage.command(main)
