"""A TREC run with a header of ir_metadata: read back as repro_eval reads it, and the ranking is as it was."""

import gzip
import json
from pathlib import Path

import pytest
import yaml

from negmark.share import annotated_run
from negmark.share.annotated_run import END, START, header, measure_name, metadata

RUN = {
    "suite": "s", "dataset": "mine", "row": "simans", "title": "SimANS: a # b", "track": "controlled", "seed": 1,
    "start": "the encoder", "params": {"a": 0.5}, "metrics": ["nDCG@10", "RR@10", "R@100", "AP", "P(rel=2)@5"],
}  # fmt: skip
MANIFEST = {
    "run": {"tier": "static", "seed": 1, "training": {"steps": 400, "dropout": None}, "encoder": {"model": "MiniLM"}},
    "code": "0123abc", "python": "3.11.7", "packages": {"numpy": "2.4.6", "absent": None},
    "hardware": {"cpu": "Z80", "cores": 2, "gpus": [], "machine": "x86_64", "memory_gibibytes": 23.5,
                 "system": "Linux"},
    "data": {"dataset": {"dataset": "own", "source": "own folder mine", "sha256": "ab"}},
}  # fmt: skip


def metadata_in(text: str) -> dict:
    """As repro_eval's `MetadataHandler.read_metadata` reads it: lines between the marks without their #, as YAML."""
    first, *lines = text.splitlines(keepends=True)
    assert first.strip("\n") == START
    end = [line.strip("\n") for line in lines].index(END)
    return yaml.safe_load("".join(line.strip("#") for line in lines[:end]))


def test_the_header_has_every_component_and_what_is_known_of_it() -> None:
    found = metadata_in(header(metadata(RUN, MANIFEST, "inbatch", "snakemake")))
    components = ["platform", "research goal", "implementation", "method", "actor", "data"]
    assert list(found) == ["schema-version", "run-version", "tag", *components]
    assert (found["schema-version"], found["tag"]) == (0.1, "simans")
    assert found["platform"]["hardware"]["cpu"]["number of cores"] == 2
    assert found["platform"]["hardware"]["ram"] == "23.5 GiB"
    assert found["platform"]["software"]["libraries"]["python"] == ["python==3.11.7", "numpy==2.4.6"]
    goal = found["research goal"]["evaluation"]
    assert goal["reported measures"] == ["ndcg_cut_10", "RR@10", "recall_100", "map", "P(rel=2)@5"]
    assert goal["baseline"] == ["inbatch"]
    assert found["implementation"]["source"]["commit"] == "0123abc"
    (stage,) = found["method"]["retrieval"]
    assert stage["params"] == {"a": 0.5}
    assert stage["training"] == {"steps": 400}
    assert stage["method"].endswith("negatives by SimANS: a # b")
    assert found["data"]["training data"] == [{"name": "own", "source": "own folder mine", "sha256": "ab"}]
    assert found["data"]["test collection"] == found["data"]["training data"][0]


def test_a_ranker_names_what_it_reranks_and_a_transfer_what_it_is_tested_on() -> None:
    run = {**RUN, "first_stage": {"name": "bm25_search", "depth": 20, "k1": 1.2}, "trained_on": "wordnet"}
    found = metadata_in(header(metadata(run, MANIFEST, "inbatch", "snakemake")))
    first, second = found["method"]["retrieval"]
    assert first == {"name": "bm25_search", "params": {"depth": 20, "k1": 1.2}}
    assert second["reranks"] == "bm25_search"
    assert found["data"]["test collection"] == {"name": "mine"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Success@5", "success_5"),
        ("AP@10", "map_cut_10"),
        ("Rprec", "Rprec"),
        ("RBP", "RBP"),
        ("RR", "recip_rank"),
    ],
)
def test_measures_have_the_names_of_trec_eval(ours: str, theirs: str) -> None:
    assert measure_name(ours) == theirs


def test_the_ranking_follows_unchanged(tmp_path: Path) -> None:
    ranking = "q1 Q0 d%201 1 0.5 simans\nq1 Q0 d2 2 0.25 simans\n"
    (tmp_path / "metrics.json").write_text(json.dumps(RUN))
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "run.trec.gz").write_bytes(gzip.compress(ranking.encode()))
    out = tmp_path / "made" / "seed-1.trec"
    annotated_run.main(tmp_path, tmp_path / "manifest.json", "inbatch", out)
    lines = out.read_text().splitlines(keepends=True)
    assert "".join(line for line in lines if line[0] != "#") == ranking
    assert metadata_in(out.read_text())["method"]["score ties"] == "document id, descending"
