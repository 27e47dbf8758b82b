"""Files of another format are refused in one line; shapes of files change no more without their number."""

import json
from pathlib import Path

import pytest

from negmark.core import formats
from negmark.core.errors import UserError
from negmark.store.board import BOARD_KEYS, read_board

BOARDS = Path(__file__).parents[2] / "results" / "leaderboards"
MANIFEST = {"format": formats.BOARD, **dict.fromkeys(BOARD_KEYS)}


def test_results_get_their_number_and_are_taken_again(tmp_path: Path) -> None:
    note = tmp_path / "results" / "format.json"
    formats.hold_results(note)
    assert json.loads(note.read_text()) == {"format": formats.RESULTS}
    formats.hold_results(note)


@pytest.mark.parametrize(
    ("content", "whose"),
    [
        ({"format": 0}, "an earlier negmark (format 0, this one has 2)"),
        ({"format": 99}, "a later negmark (format 99, this one has 2)"),
        ({"format": "new"}, "no negmark that is known (format 'new', this one has 2)"),
        ([], "no negmark that is known (format None, this one has 2)"),
    ],
)
def test_results_of_another_format_are_refused(tmp_path: Path, content: object, whose: str) -> None:
    note = tmp_path / "format.json"
    note.write_text(json.dumps(content))
    with pytest.raises(UserError, match="Nothing was done") as told:
        formats.hold_results(note)
    assert str(told.value).startswith(
        f"{note}: the results here were made by {whose}; move {tmp_path}/ elsewhere"
    )
    assert json.loads(note.read_text()) == content


def test_a_board_of_another_format_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    for content, words in (
        (
            {**MANIFEST, "format": 3},
            r"made by a later negmark \(format 3, this one has 2\); check out the commit",
        ),
        ({"format": 2, "suite": {}}, "lacks datasets, so it is no board's manifest"),
        ([1], "made by no negmark that is known"),
    ):
        manifest.write_text(json.dumps(content))
        with pytest.raises(UserError, match=words):
            read_board(manifest)
    manifest.write_text(json.dumps(MANIFEST))
    assert read_board(manifest) == MANIFEST


@pytest.mark.parametrize(
    "manifest", sorted(BOARDS.glob("*/manifest.json")), ids=lambda path: path.parent.name
)
def test_committed_boards_can_be_read(manifest: Path) -> None:
    assert read_board(manifest).keys() >= BOARD_KEYS
