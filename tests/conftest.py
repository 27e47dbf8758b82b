"""Fixtures of all tests."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from browsers import BROWSER, DRIVER
from families import write_family
from negmark.train import step as step_module
from negmark.train.step import one_step
from world import World, write_world


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """60 documents, 30 training queries, pools 20 deep."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def shallow_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same with pools of 3 candidates."""
    return write_world(tmp_path_factory.mktemp("shallow"), depth=3)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A corpus of 5 documents."""
    return write_world(tmp_path_factory.mktemp("tiny"), documents=5, queries=6)


@pytest.fixture
def bare_model(tmp_path: Path) -> Path:
    """A model folder of a few bytes a file: enough to be found and to be hashed."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text('{"hidden_size": 4}')
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    steps = [{"path": "", "type": "sentence_transformers.models.Transformer"},
             {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(steps))
    return folder


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of a family, made once; its tokenizer knows no maximum. Nobody may change it."""
    folder = tmp_path_factory.mktemp("families")
    return cache(lambda name: write_family(folder / name, name))


@pytest.fixture(autouse=True, scope="session")
def _own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests from what lies in the folder they are started in: results that a run has left, committed boards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("here"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEGMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make the next training end before this step as if it were killed, and count the steps of those after."""
    whole = one_step

    def arm(at: int | None = None) -> list[int]:
        taken: list[int] = []

        def stopping(run: Any, step: int, keep_scores: bool) -> None:
            if step == at:
                raise KeyboardInterrupt
            taken.append(step)
            whole(run, step, keep_scores)

        monkeypatch.setattr(step_module, "one_step", stopping)
        return taken

    return arm


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without a window; what a page says on its console is kept."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium isn't installed")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-sync",
    ):
        options.add_argument(f"--{argument}")
    for argument in ("disable-background-networking", "disable-component-update", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()
