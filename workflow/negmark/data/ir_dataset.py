"""Collections by the names of ir_datasets (https://ir-datasets.com): `source: ir_datasets:beir/scifact`.

A name there has documents, and queries and labels, or it is the parent of such: `beir/scifact` has the documents, and
`beir/scifact/train` and `beir/scifact/test` what is asked. So the splits of a source are what stands one level below it
(`train`, `dev`, `test`, or what `test_split` names); a name with labels of its own is its own test split.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.data.beir_writer import write_documents, write_labels, write_queries
from negmark.data.elsewhere import IR_DATASETS
from negmark.store.collection import SPLITS

EXTRA = "pip install 'negmark[ir_datasets]'"
TITLE, BODY = "title", ("text", "body", "abstract")
"""The fields of a document that are its title and its text, where it has both."""


def fetch(source: str, folder: Path, test_split: str) -> dict[str, str]:
    """Fill an empty folder with a collection in BEIR layout and return its facts (`source`, `licence`).

    Raises `UserError` if the name is unknown, has no documents or labels, or can't be downloaded. Whatever ir_datasets
    downloads it keeps in its own folder (IR_DATASETS_HOME).
    """
    name = source.removeprefix(IR_DATASETS)
    package = _package()
    whole = _opened(package, name)
    if not whole.has_docs():
        raise UserError(f"{source}: ir_datasets has no documents under this name; name another")
    splits = _splits(package, name, whole, test_split)
    if not splits:
        raise UserError(
            f"{source}: ir_datasets has no labels under this name nor under {name}/train, {name}/dev or "
            f"{name}/{test_split}; name the parent of its splits"
        )
    with _downloading(source):
        write_documents(folder, _documents(whole))
        write_queries(folder, _queries(splits))
        for split, part in splits.items():
            labels = ((str(row.query_id), str(row.doc_id), int(row.relevance)) for row in part.qrels_iter())
            write_labels(folder, split, labels)
    return {
        "source": f"ir_datasets {package.__version__}: {name}",
        "licence": f"as its owner states (https://ir-datasets.com/{name.partition('/')[0]})",
    }


def _package() -> Any:
    try:
        import ir_datasets
    except ImportError:
        raise UserError(f"{IR_DATASETS}: datasets by these names need a package: {EXTRA}") from None
    return ir_datasets


@contextlib.contextmanager
def _downloading(source: str) -> Iterator[None]:
    """Say what to do where the package finds none of its sources on the network, which it only then looks for."""
    try:
        yield
    except RuntimeError as error:  # a ConnectionError each, in a list of pairs
        raise UserError(
            f"{source}: ir_datasets has no copy here and could not download one ({error.args[0]}); get on the network, "
            "or fill the folder that IR_DATASETS_HOME names"
        ) from error


def _opened(package: Any, name: str) -> Any:
    try:
        return package.load(name)
    except KeyError:
        raise UserError(
            f"{IR_DATASETS}{name}: ir_datasets knows no such name; its list: https://ir-datasets.com/all.html"
        ) from None


def _splits(package: Any, name: str, whole: Any, test_split: str) -> dict[str, Any]:
    """Return what has labels, by the split that it is."""
    found = {}
    for split in dict.fromkeys([*SPLITS, test_split]):
        try:
            part = package.load(f"{name}/{split}")
        except KeyError:
            continue
        if part.has_qrels() and part.has_queries():
            found[split] = part
    if not found and whole.has_qrels() and whole.has_queries():
        found["test"] = whole
    return found


def _documents(dataset: Any) -> Iterator[tuple[str, str, str]]:
    for row in dataset.docs_iter():
        title = getattr(row, TITLE, None)
        body = next((value for key in BODY if (value := getattr(row, key, None)) is not None), None)
        if title is None or body is None:
            yield str(row.doc_id), "", row.default_text()
        else:
            yield str(row.doc_id), title, body


def _queries(splits: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the queries of all splits, each once."""
    seen: set[str] = set()
    for part in splits.values():
        for row in part.queries_iter():
            if row.query_id not in seen:
                seen.add(row.query_id)
                yield str(row.query_id), row.default_text()
