"""Which files a result depends on."""

import sys
from pathlib import Path

import pytest

from builders import ROOT
from negmark.core.source_files import asset, method_sources, sources
from negmark.core.tier_modules import tier_module_name
from negmark.methods import registry


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


STAGES = (
    "data.prepare", "encode.embeddings", "search.candidates", "train.train", "evaluate.evaluate", "board.manifest",
    "board.reproduce", "share.track", "share.sync", "share.export", "share.negatives",
)  # fmt: skip


def test_evaluation_depends_on_what_it_imports_and_not_on_training():
    found = sources("negmark.evaluate.evaluate", tier_module_name("evaluate", "adapter"))
    needed = {
        "evaluate/evaluate", "evaluate/metrics", "search/index", "store/collection", "train/tiers/adapter_maps",
        "core/files", "store/vectors",
    }  # fmt: skip
    assert {f"workflow/negmark/{name}.py" for name in needed} <= set(found)
    absent = {
        "train/train", "train/checkpoint", "train/tiers/adapter", "encode/embeddings", "encode/encoder",
        "share/track", "board/leaderboard", "suite/settings", "core/stage",
    }  # fmt: skip
    assert all(Path(ROOT, f"workflow/negmark/{name}.py").is_file() for name in absent)
    assert not {f"workflow/negmark/{name}.py" for name in absent} & set(found)
    assert not [name for name in found if name.startswith("methods/")]


def test_training_depends_on_the_contract_and_on_no_single_method():
    found = set(sources("negmark.train.train"))
    needed = {f"workflow/negmark/{name}.py" for name in ("train/train", "store/ledger", "train/checkpoint")}
    assert needed | {"methods/base.py", "methods/losses.py", "methods/registry.py"} <= found
    assert not {f"methods/{name}.py" for name in registry.available()} & found


def test_data_stage_knows_no_encoder():
    found = set(sources("negmark.data.prepare"))
    assert "workflow/negmark/data/wordnet.py" in found
    assert not {"workflow/negmark/encode/encoder.py", "workflow/negmark/train/train.py"} & found


def test_method_depends_on_its_own_file_alone():
    found = method_sources(registry.available()["simans"])
    wanted = {"methods/simans.py", "methods/types.py", "methods/base.py", "methods/losses.py"}
    assert set(found) == wanted | {
        "methods/later.py",
        "methods/sampling.py",
        "methods/scale.py",
        "methods/teacher.py",
        "methods/values.py",
    }
    assert "methods/sampling.py" not in method_sources(registry.available()["inbatch"])


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_exists_and_is_relative_in_a_clone(stage):
    found = sources(f"negmark.{stage}")
    assert found == sorted(set(found))
    assert f"workflow/negmark/{stage.replace('.', '/')}.py" in found
    for name in found:
        assert not Path(name).is_absolute()
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", sorted(registry.available()))
def test_every_method_names_existing_files(name):
    for file in method_sources(registry.available()[name]):
        assert (ROOT / file).is_file()


def test_method_of_another_package_names_its_module(tmp_path, monkeypatch):
    (tmp_path / "elsewhere_negatives.py").write_text(
        "from negmark.methods.inbatch import InBatch\n\n\nclass Mine(InBatch):\n    name = 'mine'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import elsewhere_negatives

    found = method_sources(elsewhere_negatives.Mine)
    assert str(tmp_path / "elsewhere_negatives.py") in found
    assert "methods/base.py" in found
    assert "methods/simans.py" not in found
    del sys.modules["elsewhere_negatives"]


def test_files_are_named_so_that_they_are_found_from_any_folder(tmp_path, monkeypatch):
    for folder in (ROOT.parent, ROOT / "workflow", tmp_path):
        monkeypatch.chdir(folder)
        found = sources("negmark.evaluate.evaluate") + asset("workflow/negmark/data/datasets.yaml")
        assert {Path(name).resolve() for name in found} >= {
            ROOT / "workflow/negmark/evaluate/metrics.py",
            ROOT / "workflow/negmark/data/datasets.yaml",
        }
        assert all(Path(name).is_file() for name in found)


def test_unknown_module_and_other_packages_add_nothing():
    assert sources("negmark.none_such", "numpy") == []
