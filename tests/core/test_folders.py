"""Folders outside the results: what variables and configs may say of them."""

from pathlib import Path

import pytest

from negmark.core.folders import cache_folder, expanded, local_data, local_models


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "there").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "folder"),
    [("NEGMARK_CACHE", cache_folder), ("NEGMARK_DATA", local_data), ("NEGMARK_MODELS", local_models)],
)
def test_a_tilde_is_the_home_folder(home, variable, folder, monkeypatch):
    """A service or a container hands variables over as they are written: a folder `~` would be made where it runs."""
    monkeypatch.setenv(variable, "~/there")
    assert folder() == home / "there"


def test_other_paths_stay_as_they_are(home):
    assert expanded("./a~b/~") == Path("a~b/~")
    assert expanded("~") == home
