"""What a board says about where it came from, and the suite that is read back from it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from builders import shipped_suites
from negmark.board import manifest
from negmark.core.errors import UserError
from negmark.core.formats import BOARD
from negmark.store.board import BOARD_KEYS
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.open import open_suite
from negmark.suite.row_code import row_sources

EMPTY: dict[str, Any] = {"format": BOARD, **dict.fromkeys(BOARD_KEYS)}
HARDWARE = {"cpu": "Z80", "cores": 1, "gpus": [], "memory_gibibytes": 0.1, "machine": "z", "system": "CP/M"}
TABLE = """dataset,row,tier,track,nDCG@10/all/mean,nDCG@10/all/low,STS/all/mean,status
mine,random,adapter,controlled,0.5,0.4,,ok
away,random,adapter,controlled,0.25,0.2,,ok
mine,untrained,,baseline,0.125,,,ok
mine,simans,adapter,controlled,,,,diverged
"""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(path: str, content: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def layout(tmp_path: Path, bare_model: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A suite whose two seeds were trained on two machines, as the stages leave it."""
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    datasets = {"mine": {"source": "./texts"}, "away": {"source": "./texts", "trained_on": "mine"}}
    config = {"suite": "s", "datasets": datasets, "encoder": {"model": str(bare_model)},
              "methods": {"random": None}, "seeds": [0, 1], "data": "texts"}  # fmt: skip
    layout = Layout(load(config, "s.yaml"))
    for name in datasets:
        write(layout.paths.card(layout.datasets[name]), {"sha256": f"content of {name}"})
        write(layout.vector_facts()["encoder"][name], {"key": f"vectors of {name}", "dtype": "bfloat16"})
    for seed in (0, 1):
        packages, hardware = {"torch": "2"}, {**HARDWARE, "cores": 1 + seed}
        told = {"packages": packages, "python": "3", "code": "abc", "hardware": hardware, "run": {}}
        write(f"results/runs/s/mine/random/seed-{seed}/manifest.json", told)
    write("results/leaderboards/s/leaderboard.csv", TABLE)
    return layout


def test_a_board_tells_what_it_came_from(layout: Layout, bare_model: Path, monkeypatch) -> None:
    here = {"packages": {"torch": "3"}, "python": "3", "code": "abc", "hardware": HARDWARE}
    monkeypatch.setattr(manifest, "environment", lambda: here)
    told = Path("results/leaderboards/s/manifest.json")
    manifest.main(json.dumps(layout.suite.resolved()), Path("results/leaderboards/s/leaderboard.csv"), told)
    found = json.loads(told.read_text())
    assert found["table"] == sha(TABLE)
    assert found["datasets"]["away"] == {"sha256": "content of away", "encoder_vectors": "vectors of away"}
    assert found["encoders"] == {
        "encoder": {
            "model": str(bare_model),
            "model.safetensors": sha("weights"),
            "config.json": sha('{"hidden_size": 4}'),
            "tokenizer.json": sha("{}"),
        }
    }
    assert [one["hardware"]["cores"] for one in found["environments"]] == [1, 2, 1]
    assert [one["packages"]["torch"] for one in found["environments"]] == ["2", "2", "3"]
    assert {row: about["environments"] for row, about in found["rows"].items()} == {
        "away/random": [0, 1], "mine/random": [0, 1], "mine/untrained": [2],
    }  # fmt: skip
    assert found["tolerances"] == {"nDCG@10": 0.005, "STS": 0.5}
    assert found["suite"]["encoder"]["dtype"] == "bfloat16"  # what `auto` meant there
    assert found["suite"]["methods"] == {
        "random": {"method": "random", "track": "controlled", "tier": "adapter"}
    }
    assert found["suite"]["datasets"]["away"]["trained_on"] == "mine"
    assert not {"data", "models", "tracking"} & found["suite"].keys()


def test_the_code_of_a_row_is_its_own(layout: Layout) -> None:
    trained, evaluated, baseline = (
        row_sources(layout.datasets[place[0]], layout.datasets["mine"], layout.rows.get(place[1], place[1]))
        for place in (("mine", "random"), ("away", "random"), ("mine", "untrained"))
    )
    files = [{Path(name).name for name in found} for found in (trained, evaluated, baseline)]
    assert {"random.py", "train.py", "adapter.py", "evaluate.py", "prepare.py", "embeddings.py"} <= files[0]
    assert "simans.py" not in files[0]
    assert files[1] == files[0]
    assert {"evaluate.py", "prepare.py", "embeddings.py"} <= files[2]
    assert not {"train.py", "random.py"} & files[2]


@pytest.mark.parametrize("name", shipped_suites())
def test_a_config_written_out_says_the_same(name: str) -> None:
    one = Layout(load(shipped_suites()[name], name))
    other = Layout(load(json.loads(json.dumps(one.suite.resolved())), "manifest"))
    assert other.targets() == one.targets()
    assert other.vector_facts() == one.vector_facts()
    assert other.datasets == one.datasets
    for dataset in one.datasets.values():
        for mine, theirs in zip(one.rows.values(), other.rows.values(), strict=True):
            assert other.specs.run(dataset, theirs) == one.specs.run(dataset, mine)
            assert other.about.runs(dataset, theirs) == one.about.runs(dataset, mine)
            assert other.paths.pools(dataset, theirs) == one.paths.pools(dataset, mine)
    assert other.specs.gates() == one.specs.gates()


def test_a_committed_board_is_rebuilt_beside_it(layout: Layout, monkeypatch) -> None:
    monkeypatch.delenv("NEGMARK_DATA", raising=False)
    write("results/leaderboards/s/manifest.json", {**EMPTY, "suite": layout.suite.resolved()})
    again = open_suite({"reproduce": "s", "data": "texts"}, [])
    assert (again.paths.rebuilds, again.paths.committed) == (True, "results/leaderboards/s")
    assert again.paths.board == "results/reproduced/s"
    assert again.paths.manifest == "results/reproduced/s/manifest.json"
    assert again.suite.data == "texts"
    assert again.paths.models(again.datasets["mine"], again.rows["random"], [0]) == [
        "results/runs/s-reproduced/mine/random/seed-0/model.safetensors"
    ]
    assert again.paths.collection(again.datasets["mine"]) == layout.paths.collection(
        layout.datasets["mine"]
    )  # shared work is not done again
    assert (layout.paths.rebuilds, layout.paths.board) == (False, "results/leaderboards/s")


@pytest.mark.parametrize(
    ("config", "files", "said"),
    [
        ({"reproduce": "t"}, [], "there is no results/leaderboards/t/manifest.json; boards with a manifest: s"),
        ({"reproduce": "s", "seeds": [0]}, [], "leave out seeds (besides it only data, gpu, models, shards may"),
        ({"reproduce": "s", "suite": "s"}, ["s.yaml"], "leave out --configfile"),
    ],
)  # fmt: skip
def test_mistakes_in_naming_a_board(layout: Layout, config, files, said, capsys) -> None:
    write("results/leaderboards/s/manifest.json", {**EMPTY, "suite": layout.suite.resolved()})
    with pytest.raises(SystemExit):
        open_suite(config, files)
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_manifest_of_another_version_is_told(layout: Layout, capsys) -> None:
    write(
        "results/leaderboards/s/manifest.json",
        {**EMPTY, "suite": {**layout.suite.resolved(), "colour": "red"}},
    )
    with pytest.raises(SystemExit):
        open_suite({"reproduce": "s"}, [])
    assert "results/leaderboards/s/manifest.json: colour: unknown key" in capsys.readouterr().err


def test_no_table_no_manifest(layout: Layout) -> None:
    Path("results/runs/s/mine/random/seed-0/manifest.json").unlink()
    with pytest.raises(UserError, match=r"seed-0/manifest.json: there is no such file"):
        manifest.describe(layout, Path("results/leaderboards/s/leaderboard.csv"))
