"""Fixtures of all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEGMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
