"""Which files a result depends on."""

import sys
from pathlib import Path

import pytest
from builders import ROOT

from methods import registry
from workflow import tiers
from workflow.sources import asset, method_sources, sources


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


STAGES = (
    "data", "embeddings", "candidates", "train", "evaluate", "manifest", "reproduce", "tracking", "sync", "export",
)  # fmt: skip


def test_evaluation_depends_on_what_it_imports_and_not_on_training():
    found = sources("workflow.evaluate", tiers.EVALUATE["adapter"])
    needed = ["evaluate", "metrics", "index", "collection", "adapter_maps", "files", "vectors"]
    assert {f"workflow/{name}.py" for name in needed} <= set(found)
    absent = {
        "train",
        "checkpoint",
        "adapter",
        "embeddings",
        "encoder",
        "tracking",
        "leaderboard",
        "settings",
        "stage",
    }
    assert not {f"workflow/{name}.py" for name in absent} & set(found)
    assert not [name for name in found if name.startswith("methods/")]


def test_training_depends_on_the_contract_and_on_no_single_method():
    found = set(sources("workflow.train"))
    needed = {"workflow/train.py", "workflow/ledger.py", "workflow/checkpoint.py", "methods/base.py"}
    assert needed | {"methods/losses.py", "methods/registry.py"} <= found
    assert not {f"methods/{name}.py" for name in registry.available()} & found


def test_data_stage_knows_no_encoder():
    found = set(sources("workflow.data"))
    assert "workflow/wordnet.py" in found
    assert not {"workflow/encoder.py", "workflow/train.py"} & found


def test_method_depends_on_its_own_file_alone():
    found = method_sources(registry.available()["simans"])
    wanted = {"methods/__init__.py", "methods/simans.py", "methods/base.py", "methods/losses.py"}
    assert set(found) == wanted | {"methods/sampling.py", "methods/teacher.py", "methods/values.py"}
    assert "methods/sampling.py" not in method_sources(registry.available()["inbatch"])


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_exists_and_is_relative_in_a_clone(stage):
    found = sources(f"workflow.{stage}")
    assert found == sorted(set(found))
    assert f"workflow/{stage}.py" in found
    for name in found:
        assert not Path(name).is_absolute()
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", sorted(registry.available()))
def test_every_method_names_existing_files(name):
    for file in method_sources(registry.available()[name]):
        assert (ROOT / file).is_file()


def test_method_of_another_package_names_its_module(tmp_path, monkeypatch):
    (tmp_path / "elsewhere_negatives.py").write_text(
        "from methods.inbatch import InBatch\n\n\nclass Mine(InBatch):\n    name = 'mine'\n"
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
        found = sources("workflow.evaluate") + asset("workflow/datasets.yaml")
        assert {Path(name).resolve() for name in found} >= {
            ROOT / "workflow/metrics.py",
            ROOT / "workflow/datasets.yaml",
        }
        assert all(Path(name).is_file() for name in found)


def test_unknown_module_and_other_packages_add_nothing():
    assert sources("workflow.none_such", "numpy") == []
