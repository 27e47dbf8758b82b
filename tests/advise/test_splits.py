"""A collection without a test split gets one, from a folder as from an archive; others stay as they are."""

import shutil
from pathlib import Path

import pytest

from builders import write_beir
from negmark.advise.splits import with_test_split


def folder_of(place: Path, *splits: str, queries: int = 40) -> Path:
    names = [f"q{row}" for row in range(queries)]
    labels = [(name, "d1", 1) for name in names] + [("q0", "d2", 0)]
    return write_beir(
        place / "mine",
        {"d1": ("", "one"), "d2": ("", "two")},
        {name: f"ask {name}" for name in names},
        dict.fromkeys(splits, labels),
    )


def test_a_fifth_of_the_queries_is_tested_where_no_split_is(tmp_path: Path) -> None:
    source = str(folder_of(tmp_path, "train"))
    assert with_test_split("mine", {"source": source}) == ({"source": source, "test_queries": 8}, 8)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "mine")
    assert with_test_split("mine", {"source": archive}) == ({"source": archive, "test_queries": 8}, 8)


def test_at_most_five_hundred(tmp_path: Path) -> None:
    source = str(folder_of(tmp_path, "train", queries=3000))
    assert with_test_split("mine", {"source": source})[1] == 500


@pytest.mark.parametrize("splits", [("train", "test"), ("test",), ("train", "dev", "test")])
def test_a_test_split_is_kept(splits: tuple[str, ...], tmp_path: Path) -> None:
    given = {"source": str(folder_of(tmp_path, *splits))}
    assert with_test_split("mine", given) == (given, 0)


def test_what_the_user_says_and_known_names_are_kept(tmp_path: Path) -> None:
    given = {"source": str(folder_of(tmp_path, "train")), "test_split": "other"}
    assert with_test_split("mine", given) == (given, 0)
    assert with_test_split("scifact", None) == (None, 0)
    assert with_test_split("a", {"source": "scifact"}) == ({"source": "scifact"}, 0)
    assert with_test_split("a", {"source": str(tmp_path / "absent")})[1] == 0, (
        "the stage dataset says what is wrong"
    )
