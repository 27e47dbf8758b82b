"""An exported model opens with sentence-transformers and gives the vectors that evaluation computed."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from builders import Bench, both_sides, tiny_model
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.encode.encoder import Encoder
from negmark.evaluate import evaluate
from negmark.share import export
from negmark.store import collection
from negmark.train.tiers import adapter_maps, finetune
from texts import Texts

KINDS = ("adapter", "shared", "parted")
LENGTHS = {
    "equal": {"query_length": 12, "document_length": 12},
    "unequal": {"query_length": 11, "document_length": 14, "query_prompt": "ask ", "document_prompt": "on "},
}
TOLERANCE = 1e-5


class Runs(Texts):
    """The made dataset with texts on both sides of the lengths, and a trained run of each kind."""

    def __init__(self, folder: Path, **settings) -> None:
        super().__init__(folder)
        self.settings |= settings
        self.collection.texts[:] = [f"{'abcde'[row % 5] * (row % 23)} {row}" for row in range(90)]
        self.collection.queries[:] = [f"{row} {'vwxyz'[row % 5] * (row % 17)}" for row in range(72)]
        prepare.write(self.collection, self.dataset)
        self.tokens = finetune.tokens_of_sides(self.dataset, json.dumps(self.settings))
        for side, name in (("document", "documents"), ("query", "queries")):
            np.save(self.vectors / f"{name}.npy", Encoder(self.model, "float32").encode(self.tokens[side]))
        self.folders = {
            "adapter": self.train(folder / "adapter", Bench.spec(self, "inbatch")),
            "shared": self.train(folder / "shared", self.spec("inbatch")),
            "parted": self.train(folder / "parted", self.spec("adore", track="faithful")),
        }

    def evaluated(self, kind: str) -> dict[str, np.ndarray]:
        """The vectors of each side as evaluation computes them."""
        tier = adapter_maps if kind == "adapter" else finetune
        model, about = self.folders[kind] / "model.safetensors", {"encoder": self.settings}
        rows = np.arange(len(self.tokens["query"]))
        documents, queries = both_sides(tier, about, model, self.dataset, self.vectors, rows)
        return {"query": queries, "document": documents}

    def export(self, kind: str, output: Path, **settings) -> Path:
        export.main(self.folders[kind], output, json.dumps({**self.settings, **settings}))
        return output


def opened(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def encoded(folder: Path, dataset: Path) -> dict[str, np.ndarray]:
    """The vectors of each side as someone who opens the folder gets them."""
    model = opened(folder)
    documents, queries = collection.texts(dataset)
    return {"query": model.encode_query(queries), "document": model.encode_document(documents)}


def worst(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(one[side] - other[side]).max()) for side in ("query", "document"))


@pytest.fixture(scope="module", params=sorted(LENGTHS))
def runs(request, tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp(request.param), **LENGTHS[request.param])


@pytest.fixture(scope="module")
def equal(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("one"), **LENGTHS["equal"])


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_evaluation(runs, tmp_path, kind):
    for side in ("query", "document"):
        lengths = set(runs.tokens[side].lengths.tolist())
        assert max(lengths) == runs.settings[f"{side}_length"]
        assert min(lengths) < max(lengths)
    found = encoded(runs.export(kind, tmp_path / "model"), runs.dataset)
    wanted = runs.evaluated(kind)
    assert found["query"].dtype == np.float32
    assert worst(found, wanted) < TOLERANCE
    untrained = {side: np.load(runs.vectors / f"{name}.npy") for side, name in
                 (("query", "queries"), ("document", "documents"))}  # fmt: skip
    assert worst(found, untrained) > 100 * TOLERANCE


@pytest.mark.parametrize(("kind", "alike"), [("adapter", False), ("shared", True), ("parted", False)])
def test_one_text_has_two_vectors_where_the_sides_differ(equal, tmp_path, kind, alike):
    model = opened(equal.export(kind, tmp_path / "model"))
    query, document = model.encode_query("a text"), model.encode_document("a text")
    assert (np.abs(query - document).max() < TOLERANCE) == alike
    assert np.abs(query - document).max() > 100 * TOLERANCE or alike


def test_documents_of_adore_are_those_of_the_start(equal, tmp_path):
    found = encoded(equal.export("parted", tmp_path / "model"), equal.dataset)
    assert np.abs(found["document"] - np.load(equal.vectors / "documents.npy")).max() < TOLERANCE
    assert np.abs(found["query"] - np.load(equal.vectors / "queries.npy")).max() > 100 * TOLERANCE


@pytest.mark.parametrize("kind", ["shared", "parted"])
def test_dot_products_leave_vectors_as_long_as_they_are(equal, tmp_path, kind):
    model = opened(equal.export(kind, tmp_path / "model", similarity="dot"))
    assert model.similarity_fn_name == "dot"
    documents = model.encode_document(collection.texts(equal.dataset)[0])
    lengths = np.linalg.norm(documents, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 1e-3
    assert np.abs(documents / lengths - equal.evaluated(kind)["document"]).max() < TOLERANCE


@pytest.mark.parametrize("how", ["cls", "lasttoken"])
def test_pooling_is_that_of_the_encoder(equal, tmp_path, how):
    base = tiny_model(tmp_path / "base")
    key = {"cls": "pooling_mode_cls_token", "lasttoken": "pooling_mode_lasttoken"}[how]
    (base / "1_Pooling").mkdir()
    (base / "1_Pooling" / "config.json").write_text(json.dumps({key: True}))
    steps = [{"path": path, "type": f"sentence_transformers.models.{name}"}
             for path, name in (("", "Transformer"), ("1_Pooling", "Pooling"))]  # fmt: skip
    (base / "modules.json").write_text(json.dumps(steps))
    found = encoded(equal.export("adapter", tmp_path / "model", model=str(base)), equal.dataset)
    maps = adapter_maps.load_maps(equal.folders["adapter"] / "model.safetensors")
    encoder = Encoder(base, "float32")
    assert encoder.head.recipe.pooling == (how,)
    wanted = {side: adapter_maps.mapped(encoder.encode(equal.tokens[side]), maps[side]) for side in maps}
    assert worst(found, wanted) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_says_what_it_is_and_names_no_folder(equal, tmp_path, kind):
    run = equal.folders[kind]
    about = {"dataset": "made", "row": "x", "title": "A row", "tier": "finetune", "track": "controlled"}
    about |= {"encoder": equal.settings, "adaptations": ["starts from nothing"]}
    about |= {"metrics": ["nDCG@10", "P@5"], "start": f"{equal.model}, top 1 layer drawn anew"}
    about |= {"tier": "adapter"} if kind == "adapter" else {}
    evaluate.main([run / "metrics.json"], json.dumps(about), equal.dataset, equal.vectors)
    value = json.loads((run / "metrics.json").read_text())["slices"]["unseen"]["nDCG@10"]
    model = equal.export(kind, tmp_path / "model")
    (run / "metrics.json").unlink()
    files = [path for path in model.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors"}
    for path in files:
        assert not [
            part for part in (tmp_path, equal.model.parent) if str(part).encode() in path.read_bytes()
        ]
    card = (model / "README.md").read_text()
    for told in (
        "# A row on made", "| seed | 0 |", f"| nDCG@10, unseen | {value:.4f} on ",
        "| started from | model, top 1 layer drawn anew |",
        "starts from nothing", "SentenceTransformer(", "encode_query(", "encode_document(", "arXiv",
    ):  # fmt: skip
        assert told in card, told
    track, tier = ("faithful" if kind == "parted" else "controlled"), about["tier"]
    assert f"| track | {track}: " in card
    assert f"| tier | {tier}: " in card
    bare = (equal.export(kind, tmp_path / "bare") / "README.md").read_text()
    assert "nDCG@10" not in bare


def test_a_card_names_the_run_that_training_went_on_from(equal, tmp_path):
    manifest = json.loads((equal.folders["shared"] / "manifest.json").read_text())
    manifest["data"]["start"] = "0123abcd"
    card = export.model_card(manifest, {}, {**equal.settings, "model": "owner/name"})
    assert (
        "| started from | owner/name; trained further from the run whose model has SHA-256 0123abcd |" in card
    )


def broken(equal: Runs, folder: Path, kind: str) -> Path:
    """A folder with the manifest of a run and a model that can't be read."""
    folder.mkdir()
    (folder / "manifest.json").write_bytes((equal.folders[kind] / "manifest.json").read_bytes())
    (folder / "model.safetensors").write_bytes(b"broken")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_broken_or_missing_is_told_in_one_line(equal, tmp_path, kind):
    run = broken(equal, tmp_path / "run", kind)
    for _ in ("broken", "missing"):
        with pytest.raises(UserError, match=r"model\.safetensors: no (adapter|encoder) can be read") as error:
            export.main(run, tmp_path / "model", json.dumps(equal.settings))
        assert "\n" not in str(error.value)
        (run / "model.safetensors").unlink(missing_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_without_a_manifest_and_maps_of_another_encoder_are_refused(equal, tmp_path):
    run = broken(equal, tmp_path / "run", "adapter")
    save_file(
        {side: np.eye(4, dtype=np.float32) for side in ("query", "document")}, run / "model.safetensors"
    )
    with pytest.raises(UserError, match=r"its maps are 4 x 4, but vectors of .* have 8 dimensions"):
        export.main(run, tmp_path / "model", json.dumps(equal.settings))
    (run / "manifest.json").write_text(json.dumps({"run": {"tier": "rerank"}}))
    with pytest.raises(
        UserError, match="a run of the tier rerank gives no vectors; adapter, static, finetune do"
    ):
        export.main(run, tmp_path / "model", json.dumps(equal.settings))
    (run / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"manifest\.json: there is no such file"):
        export.main(run, tmp_path / "model", json.dumps(equal.settings))


def test_a_finished_model_is_not_mixed_with_another(equal, tmp_path):
    model = equal.export("shared", tmp_path / "model")
    before = load_file(model / "model.safetensors")
    with pytest.raises(UserError, match="there already; delete it"):
        equal.export("parted", model)
    assert not (model / "router_config.json").exists()
    assert before.keys() == load_file(model / "model.safetensors").keys()


def test_a_failure_while_writing_leaves_nothing(equal, tmp_path, monkeypatch):
    def fails(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "model_card", fails)
    with pytest.raises(KeyboardInterrupt):
        equal.export("shared", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
