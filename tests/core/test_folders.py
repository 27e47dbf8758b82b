"""Folders outside the results are named by variables; a name that leads nowhere is told at once."""

import pytest

from negmark.core.errors import UserError
from negmark.core.folders import cache_folder, local_data, local_models


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NEGMARK_CACHE")
    assert cache_folder().name == "negmark"


@pytest.mark.parametrize(
    ("variable", "find"), [("NEGMARK_DATA", local_data), ("NEGMARK_MODELS", local_models)]
)
def test_a_local_folder_is_there_or_not_named(tmp_path, monkeypatch, variable, find):
    monkeypatch.setenv(variable, str(tmp_path))
    assert find() == tmp_path
    monkeypatch.setenv(variable, "")
    assert find() is None
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    with pytest.raises(
        UserError, match=rf"^{variable}: there is no folder .*gone; fix the variable or unset it"
    ):
        find()
