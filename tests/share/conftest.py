"""Fixtures of the tests of what is shared."""

from pathlib import Path

import pytest

from tracked_runs import write_tracked


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two trained runs of 25 steps, what was evaluated elsewhere, baselines and a board, in the current folder."""
    return write_tracked(tmp_path, monkeypatch)
