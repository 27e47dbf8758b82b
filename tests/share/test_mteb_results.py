"""Results of a board in MTEB's form: names and values by hand, and mteb's own cache takes them."""

import json
from pathlib import Path

import pytest

from board_files import IN_BATCH, UNTRAINED, write_card, write_runs
from negmark.core.errors import UserError
from negmark.share import mteb_results
from negmark.share.mteb_results import model_name, result, task_of, tasks, write_results
from negmark.store.contents import Contents

CARD = {
    "dataset": "scifact", "name": "mine", "source": "BEIR's scifact.zip", "documents": 5183, "documents_full": 5183,
    "sha256": "ab",
}  # fmt: skip


def run_of(**more: object) -> dict:
    return {
        "suite": "s", "dataset": "mine", "row": "simans", "seed": 3, "track": "controlled",
        "metrics": ["nDCG@10", "RR@10", "R@100", "P@5", "AP@10", "Success@5", "Rprec", "P(rel=2)@5"],
        "slices": {"all": {"nDCG@10": 0.5, "RR@10": 0.4, "R@100": 0.9, "P@5": 0.1, "AP@10": 0.3, "Success@5": 0.8,
                           "Rprec": 0.2, "P(rel=2)@5": 0.05}},
        **more,
    }  # fmt: skip


def test_a_whole_collection_has_the_name_that_mteb_gives_it() -> None:
    assert task_of(CARD) == {**tasks()["scifact"], "split": "test", "language": "eng-Latn"}
    assert task_of({**CARD, "dataset": "msmarco", "test_split": "dev"})["task"] == "MSMARCO"
    assert task_of({**CARD, "relevant_grade": {"train": 2}})["task"] == "SciFact"


@pytest.mark.parametrize(
    "other",
    [
        {"documents": 1000},
        {"test_queries": 20},
        {"test_split": "dev"},
        {"dataset": "own"},
        {"source": "own folder scifact"},
        {"source": "hub: scifact"},
        {
            "source": "a mixture of BEIR's scifact.zip, own folder notes",
            "mixed": {"scifact": 809, "notes": 50},
        },
        {"relevant_grade": {"test": 2}},
    ],
)
def test_any_other_keeps_ours(other: dict) -> None:
    found = task_of({**CARD, **other})
    assert (found["task"], found["revision"], found["language"]) == ("negmark-mine", "ab", "")


def test_measures_have_the_names_that_mteb_gives_them() -> None:
    (entry,) = result(run_of(), CARD)["scores"]["test"]
    assert entry == {
        "ndcg_at_10": 0.5, "mrr_at_10": 0.4, "recall_at_100": 0.9, "precision_at_5": 0.1, "map_at_10": 0.3,
        "hit_rate_at_5": 0.8, "main_score": 0.5, "hf_subset": "default", "languages": ["eng-Latn"],
    }  # fmt: skip


def test_a_suite_without_the_metric_that_ranks_there_is_refused() -> None:
    with pytest.raises(UserError, match="s: metrics: MTEB ranks by nDCG@10, which the suite lacks; add it"):
        result(run_of(slices={"all": {"RR@10": 0.4}}), CARD)


def test_models_that_were_trained_elsewhere_have_another_name() -> None:
    assert model_name(run_of()) == "negmark/s-mine-simans"
    assert model_name(run_of(trained_on="wordnet")) == "negmark/s-wordnet-simans"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of a board of one row and one baseline."""
    write_runs(tmp_path, "scifact", "inbatch", IN_BATCH)
    write_runs(tmp_path, "scifact", "untrained", UNTRAINED)
    card = write_card(tmp_path, "scifact", documents=5000, documents_full=5000)
    contents = Contents(suite="quickstart", cards={"scifact": card.name}, rows=["inbatch"], seeds=[0, 1, 2])
    files = [tmp_path / "runs/scifact" / place / "metrics.json" for place in ("inbatch/1", "untrained/None")]
    monkeypatch.setattr(Contents, "files", lambda *_: files)
    folder = tmp_path / "mteb"
    assert write_results(contents, folder, tmp_path) == 2
    return folder


def test_a_result_lies_where_mteb_looks_for_it(written: Path) -> None:
    found = {str(path.relative_to(written / "results")) for path in written.rglob("*.json")}
    assert found == {
        f"negmark__quickstart-scifact-{place}/{name}.json"
        for place in ("inbatch/seed-1", "untrained/baseline")
        for name in ("SciFact", "model_meta")
    }


def test_mteb_reads_what_was_written(written: Path) -> None:
    """By its own cache: the result of a task, all results of a folder, and what is said of the model."""
    mteb = pytest.importorskip("mteb", reason="pip install 'negmark[mteb]'")
    cache = mteb.ResultCache(cache_path=written)
    name = "negmark/quickstart-scifact-inbatch"
    found = cache.load_task_result("SciFact", name, model_revision="seed-1")
    value = (2 * 0.9 + 0.15) / 3
    assert found.get_score() == pytest.approx(value)
    assert found.dataset_revision == mteb.get_task("SciFact").metadata.revision
    loaded = cache.load_results(
        models=[name], include_remote=False, require_model_meta=True, validate_and_filter=True
    )
    (model,) = loaded.model_results
    assert (model.model_name, model.model_revision) == (name, "seed-1")
    assert [one.task_name for one in model.task_results] == ["SciFact"]
    meta = json.loads(
        (written / "results" / name.replace("/", "__") / "seed-1" / "model_meta.json").read_text()
    )
    assert mteb.models.ModelMeta.model_validate(meta).name == name


def test_every_task_named_is_one_of_mteb_with_this_revision() -> None:
    mteb = pytest.importorskip("mteb", reason="pip install 'negmark[mteb]'")
    for name, entry in tasks().items():
        metadata = mteb.get_task(entry["task"]).metadata
        assert metadata.revision == entry["revision"], name
        assert entry.get("split", "test") in metadata.eval_splits, name


def test_a_board_of_sentences_has_nothing_for_mteb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    contents = Contents(
        suite="s", cards={"wiki": "card.json"}, rows=["inbatch"], seeds=[0], sentences=["wiki"]
    )
    Path("card.json").write_text("{}")
    Path("contents.json").write_text(contents.model_dump_json())
    with pytest.raises(UserError, match="no dataset that is searched"):
        mteb_results.main(Path("contents.json"), Path("out"))
    assert not Path("out").exists()
