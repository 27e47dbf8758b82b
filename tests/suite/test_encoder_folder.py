"""What a suite leaves open is taken from its encoders' folders before anything runs; what can't be is told then."""

import json
from pathlib import Path

import pytest
import yaml

from families import POSITIONS, as_sentence_transformer, edit_json, write_family
from negmark.core.errors import UserError
from negmark.encode import pretrained
from negmark.run import start
from negmark.suite.checks import load
from negmark.suite.encoder_folder import check_encoders, left_open
from negmark.suite.open import open_suite

PROMPTS = {"query": "ask: ", "document": "on: "}
SETTINGS = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_family(tmp_path_factory.mktemp("plain") / "roberta", "roberta", {"model_max_length": 10**6})


@pytest.fixture
def model(plain, tmp_path) -> Path:
    return as_sentence_transformer(plain, tmp_path / "model", prompts=PROMPTS, similarity_fn_name="dot")


def config(model: Path, tier: str = "finetune", **encoder) -> dict:
    lengths = {"query_length": 8, "document_length": 16}
    return {
        "suite": "x", "datasets": {"scifact": None}, "methods": {"inbatch": None}, "tier": tier,
        "encoder": {"model": str(model), **lengths, **encoder},
    }  # fmt: skip


def opened(folder: Path, content: dict):
    """The suite as a command opens it."""
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    return open_suite(content, [path]).suite


def test_what_a_suite_leaves_out_is_what_the_folder_says(model, tmp_path):
    encoder = opened(tmp_path, config(model)).encoder
    assert (encoder.query_prompt, encoder.document_prompt, encoder.similarity) == ("ask: ", "on: ", "dot")
    given = opened(
        tmp_path, config(model, query_prompt="", document_prompt="mine: ", similarity="cosine")
    ).encoder
    assert (given.query_prompt, given.document_prompt, given.similarity) == ("", "mine: ", "cosine")
    half = opened(tmp_path, config(model, query_prompt="mine: ")).encoder
    assert (half.query_prompt, half.document_prompt) == ("mine: ", "on: ")


def test_jobs_and_names_are_those_of_a_suite_that_says_it_itself(model, tmp_path):
    said = {"query_prompt": "ask: ", "document_prompt": "on: ", "similarity": "dot"}
    left, told = (opened(tmp_path, config(model, **keys)) for keys in ({}, said))
    assert left.resolved() == told.resolved()
    assert left.encoder_key() == told.encoder_key()
    bare = opened(tmp_path, config(model, **dict.fromkeys(("query_prompt", "document_prompt"), "")))
    assert left.encoder_key() != bare.encoder_key()


def test_a_folder_that_says_nothing_changes_nothing(plain, tmp_path):
    assert opened(tmp_path, config(plain)).resolved() == load(config(plain), "x.yaml").resolved()
    assert (
        left_open(
            load({"suite": "x", "datasets": {"scifact": None}, "methods": {"inbatch": None}}, "x"), "x", False
        )
        == {}
    )


def test_the_teachers_folder_is_asked_too(model, plain, tmp_path):
    content = {**config(plain), "teacher": {"model": str(model), "query_length": 8, "document_length": 9}}
    teacher = opened(tmp_path, content).teacher
    assert (teacher.query_prompt, teacher.similarity) == ("ask: ", "dot")
    content["teacher"]["document_length"] = POSITIONS
    with pytest.raises(
        UserError, match=rf"teacher\.document_length: {POSITIONS} tokens .* at most {POSITIONS - 2}"
    ):
        check_encoders(load(content, "x.yaml"))


def test_dot_products_are_refused_where_the_tier_needs_cosines(model, tmp_path, capsys):
    with pytest.raises(SystemExit):
        opened(tmp_path, config(model, "adapter"))
    assert (
        f"encoder.similarity: {model / SETTINGS} compares by dot products, and the tier adapter by cosine"
        in (capsys.readouterr().err)
    )
    assert opened(tmp_path, config(model, "adapter", similarity="cosine")).encoder.similarity == "cosine"


def test_a_method_with_thresholds_on_cosines_is_refused_then_as_if_the_suite_had_said_dot(
    model, tmp_path, capsys
):
    with pytest.raises(SystemExit):
        opened(tmp_path, {**config(model), "methods": {"percpos": None}})
    assert "percpos has thresholds on cosines" in capsys.readouterr().err


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_distances_are_refused_unless_the_suite_names_what_to_take(model, tmp_path, similarity, capsys):
    edit_json(model / SETTINGS, {"similarity_fn_name": similarity})
    with pytest.raises(SystemExit):
        opened(tmp_path, config(model))
    assert (
        f"compares by {similarity}, which isn't done here; set it to cosine or dot" in capsys.readouterr().err
    )
    assert opened(tmp_path, config(model, similarity="dot")).encoder.similarity == "dot"


@pytest.mark.parametrize("similarity", ["dot", "euclidean"])
def test_of_vectors_of_length_one_every_similarity_is_the_cosines_order(plain, tmp_path, similarity):
    from sentence_transformers.sentence_transformer.modules import Normalize

    model = as_sentence_transformer(plain, tmp_path / "model", Normalize(), similarity_fn_name=similarity)
    assert opened(tmp_path, config(model, "adapter")).encoder.similarity == "cosine"


def test_a_token_tables_folder_says_its_prompts_and_what_it_is_compared_by(model, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    for name, steps in (("unit", [Normalize()]), ("long", [])):
        table = StaticEmbedding(words, embedding_dim=4)
        SentenceTransformer(modules=[table, *steps], prompts=PROMPTS, similarity_fn_name="dot").save(
            str(tmp_path / name), create_model_card=False
        )
    content = config(model, "static") | {"static": {"start": str(tmp_path / "unit")}}
    assert opened(tmp_path, content).encoder.query_prompt == "ask: "
    assert opened(tmp_path, content | {"static": {"start": "words"}}).encoder.query_prompt == ""
    with pytest.raises(SystemExit):
        opened(tmp_path, content | {"static": {"start": str(tmp_path / "long")}})
    assert "compares by dot products, and the tier static by cosine" in capsys.readouterr().err


def test_lengths_are_asked_before_anything_runs(plain, tmp_path, monkeypatch, capsys):
    suite = load(config(plain, document_length=POSITIONS - 2), "x.yaml")
    check_encoders(suite)
    longer = load(config(plain, document_length=POSITIONS - 1), "x.yaml")
    monkeypatch.chdir(tmp_path)
    for taken in ("hold_folder", "hold_results"):
        monkeypatch.setattr(start, taken, lambda: None)
    (tmp_path / ".snakemake").mkdir()
    with pytest.raises(SystemExit) as ended:
        start.begin([], longer)
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"error: encoder.document_length: {POSITIONS - 1} tokens are asked for, but {plain} reads at most "
        f"{POSITIONS - 2}; lower it\n"
    )
    static = load(config(plain, "static", document_length=POSITIONS - 1), "x.yaml")
    check_encoders(static)  # a token table reads any length


def test_lengths_are_asked_without_a_cache_too(plain, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder would be")
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    check_encoders(load(config(plain, document_length=POSITIONS - 2), "x.yaml"))


def test_a_folder_that_cannot_be_followed_is_told_before_anything_runs(model):
    edit_json(model / "1_Pooling" / "config.json", {"pooling_mode": "median"})
    with pytest.raises(UserError, match="pooling_mode: median is not known"):
        check_encoders(load(config(model), "x.yaml"))


def test_the_hub_is_asked_for_what_is_said_of_a_model_but_in_no_dry_run(model, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(name, allow_patterns, local_files_only):
        asked.append(local_files_only)
        assert allow_patterns == pretrained.SMALL
        if local_files_only:
            raise OSError("not here")
        return str(model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    suite = load(config("owner/model-of-nobody"), "x.yaml")
    assert left_open(suite, "x.yaml", fetch=False) == {}
    check_encoders(suite)
    assert asked == [True, True]
    found = left_open(suite, "x.yaml", fetch=True)
    assert found == {"encoder": {"query_prompt": "ask: ", "document_prompt": "on: ", "similarity": "dot"}}
    assert json.loads((model / SETTINGS).read_text())["prompts"] == PROMPTS
