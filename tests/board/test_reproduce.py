"""A rebuilt board against the committed one: the rule, the reasons and the exit code."""

import copy
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from negmark.board.reproduce import DIFFERS, EDITED, SAME, UNEXPLAINED, WITHIN, compare, differences, main
from negmark.core.errors import UserError
from negmark.core.formats import BOARD

NAN = math.nan
COLUMNS = [
    "dataset", "row", "tier", "track", "test_queries/all", "test_queries/unseen", "seeds", "nDCG@10/all/mean",
    "nDCG@10/all/low", "nDCG@10/unseen/mean", "STS/all/mean", "train_seconds",
]  # fmt: skip
ROWS = [
    ["mine", "simans", "adapter", "controlled", 30, 10, 5, 0.5, 0.4, 0.1, NAN, 9.0],
    ["mine", "random", "adapter", "controlled", 30, 10, 5, 0.4, 0.3, 0.2, NAN, 8.0],
    ["mine", "untrained", "", "baseline", 30, 10, NAN, 0.3, NAN, 0.3, NAN, NAN],
    ["alike", "simans", "adapter", "controlled", 7, 0, 5, NAN, NAN, NAN, 61.5, 9.0],
]
MANIFEST: dict[str, Any] = {
    "format": BOARD,
    "suite": {"datasets": {"mine": {}, "alike": {"trained_on": "mine"}}},
    "encoders": {"encoder": {"model": "m", "model.safetensors": "1" * 64}},
    "datasets": {"mine": {"sha256": "2" * 64}, "alike": {"sha256": "3" * 64}},
    "rows": {
        "mine/simans": {"code": "4" * 64, "environments": [0]},
        "mine/random": {"code": "5" * 64, "environments": [0, 1]},
        "mine/untrained": {"code": "6" * 64, "environments": [0]},
        "alike/simans": {"code": "7" * 64, "environments": [0]},
    },
    "environments": [
        {"packages": {"torch": "2.9.0"}, "python": "3.11.7", "code": "c1", "hardware": {"cpu": "A", "gpus": []}},
        {"packages": {"torch": "2.9.0"}, "python": "3.11.7", "code": "c1", "hardware": {"cpu": "B", "gpus": ["G"]}},
    ],
    "tolerances": {"nDCG@10": 0.005, "STS": 0.5},
}  # fmt: skip


def board(**changes: Any) -> pd.DataFrame:
    """The rows, with values changed as `method__column=value` in the data of `mine`."""
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    for place, value in changes.items():
        method, column = place.split("__")
        name = {"all": "nDCG@10/all/mean", "unseen": "nDCG@10/unseen/mean", "queries": "test_queries/all",
                "sts": "STS/all/mean", "low": "nDCG@10/all/low", "seconds": "train_seconds"}[column]  # fmt: skip
        dataset = "alike" if column == "sts" else "mine"
        frame.loc[(frame["dataset"] == dataset) & (frame["row"] == method), name] = value
    return frame


def changed(**places: Any) -> dict[str, Any]:
    """The manifest with values changed, their places written with double underscores."""
    manifest = copy.deepcopy(MANIFEST)
    for place, value in places.items():
        *path, last = place.split("__")
        part = manifest
        for key in path:
            part = part[int(key)] if isinstance(part, list) else part[key]
        part[last] = value
    return manifest


def judged(rebuilt: pd.DataFrame, theirs: dict[str, Any] = MANIFEST) -> dict[tuple[str, str], dict[str, Any]]:
    rows = compare(board(), rebuilt, (MANIFEST, theirs)).to_dict("records")
    return {(row["dataset"], row["row"]): row for row in rows}


def test_a_board_is_the_same_as_itself_whatever_it_cost() -> None:
    found = judged(board(simans__seconds=1e9, simans__low=0.1))
    assert list(found) == [(row[0], row[1]) for row in ROWS]
    assert {row["verdict"] for row in found.values()} == {SAME}
    assert {row["reason"] for row in found.values()} == {""}


@pytest.mark.parametrize(
    ("change", "verdict", "difference", "place"),
    [
        ({"simans__all": 0.505}, WITHIN, 0.005, "nDCG@10/all"),  # 0.505 - 0.5 is a little more than 0.005 in binary
        ({"simans__all": 0.495}, WITHIN, -0.005, "nDCG@10/all"),
        ({"simans__all": 0.50501}, DIFFERS, 0.00501, "nDCG@10/all"),
        ({"simans__all": 0.5 + 2**-53}, WITHIN, 2**-53, "nDCG@10/all"),  # the next number: not the same digits
        ({"simans__all": 0.503, "simans__unseen": 0.096}, WITHIN, -0.004, "nDCG@10/unseen"),
        ({"simans__all": NAN}, DIFFERS, math.inf, "nDCG@10/all"),
        ({"simans__queries": 29}, DIFFERS, -1, "test_queries/all"),
        ({"simans__queries": 29, "simans__all": 0.9}, DIFFERS, -1, "test_queries/all"),
    ],
)  # fmt: skip
def test_the_rule(change: dict[str, float], verdict: str, difference: float, place: str) -> None:
    found = judged(board(**change))
    row = found["mine", "simans"]
    assert (row["verdict"], row["in"]) == (verdict, place)
    assert row["difference"] == pytest.approx(difference, rel=1e-12) or row["difference"] == difference
    assert row["reason"] == UNEXPLAINED
    assert {other["verdict"] for key, other in found.items() if key != ("mine", "simans")} == {SAME}


def test_correlations_have_a_tolerance_of_their_own() -> None:
    row = judged(board(simans__sts=61.9))["alike", "simans"]
    assert (row["verdict"], row["tolerance"], row["in"]) == (WITHIN, 0.5, "STS/all")
    assert judged(board(simans__sts=62.1))["alike", "simans"]["verdict"] == DIFFERS


def test_a_row_that_only_one_board_has_differs() -> None:
    rebuilt = board()
    rebuilt.loc[1, "row"] = "bm25"
    found = judged(rebuilt)
    assert found["mine", "random"]["reason"] == "row is missing in the rebuilt board"
    assert found["mine", "bm25"]["reason"] == "row is not on the committed board"
    assert [found["mine", name]["verdict"] for name in ("random", "bm25", "simans")] == [
        DIFFERS,
        DIFFERS,
        SAME,
    ]
    rebuilt = board()
    rebuilt.loc[1, "track"] = "faithful"  # another recipe is another row
    assert len(compare(board(), rebuilt, (MANIFEST, MANIFEST))) == 5


def test_a_metric_that_the_rebuilt_board_lacks_differs() -> None:
    found = judged(board().drop(columns=["nDCG@10/unseen/mean"]))
    assert found["mine", "simans"]["verdict"] == DIFFERS
    assert found["alike", "simans"]["verdict"] == SAME


@pytest.mark.parametrize(
    ("change", "kind", "line", "rows"),
    [
        ({"datasets__mine__sha256": "8" * 64}, "data", "mine sha256 222222222222 when committed, 888888888888 now",
         {"mine/simans", "mine/random", "mine/untrained", "alike/simans"}),  # runs on `alike` were trained on `mine`
        ({"datasets__alike__sha256": "8" * 64}, "data", "alike sha256 333333333333 when committed, 888888888888 now",
         {"alike/simans"}),
        ({"encoders__encoder__model.safetensors": "8" * 64}, "encoder",
         "encoder model.safetensors 111111111111 when committed, 888888888888 now", set(MANIFEST["rows"])),
        ({"rows__mine/random__code": "8" * 64}, "code",
         "source files of mine/random 555555555555 when committed, 888888888888 now", {"mine/random"}),
        ({"environments__0__packages": {"torch": "2.10.0"}}, "version", "torch 2.9.0 when committed, 2.10.0 now",
         {"mine/simans", "mine/untrained", "alike/simans"}),
        ({"environments__1__hardware": {"cpu": "A", "gpus": []}}, "hardware",
         "cpu A and B when committed, A now", {"mine/random"}),
    ],
)  # fmt: skip
def test_what_differs_between_manifests(change: dict[str, Any], kind: str, line: str, rows: set[str]) -> None:
    theirs = changed(**change)
    found = {place: differences(*place.split("/"), MANIFEST, theirs) for place in MANIFEST["rows"]}
    touched = {place for place, reasons in found.items() if kind in reasons}
    assert touched == rows | ({"mine/random"} if kind == "version" else set())  # it was made in both places
    assert all(line in found[place][kind] for place in rows)
    assert all(set(reasons) <= {kind} for reasons in found.values())


def test_the_reason_of_a_row_is_what_touches_it() -> None:
    theirs = changed(**{"rows__mine/random__code": "8" * 64, "environments__0__python": "3.12.0"})
    found = judged(board(simans__all=0.9, random__all=0.9), theirs)
    assert found["mine", "simans"]["reason"] == "version"
    assert found["mine", "random"]["reason"] == "code, version"
    assert found["mine", "untrained"]["reason"] == ""


@pytest.fixture
def boards(tmp_path: Path) -> tuple[Path, Path]:
    """A committed board and a rebuilt one, equal to the last digit."""
    folders = tmp_path / "committed", tmp_path / "rebuilt"
    for folder in folders:
        folder.mkdir()
        board().to_csv(folder / "leaderboard.csv", index=False)
        text = (folder / "leaderboard.csv").read_bytes()
        manifest = {**MANIFEST, "table": hashlib.sha256(text).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folders


def test_what_is_printed_and_written(boards: tuple[Path, Path], capsys) -> None:
    main(*boards)
    told = capsys.readouterr().err
    assert told.strip().splitlines()[-1] == f"{boards[0]}: 4 rows: 4 same, 0 within tolerance, 0 differs"
    assert "Differences between the two manifests:\n- nothing" in told
    board(simans__all=0.502, random__all=0.7).to_csv(boards[1] / "leaderboard.csv", index=False)
    (boards[1] / "manifest.json").write_text(json.dumps({**changed(environments__0__code="c2"), "table": ""}))
    with pytest.raises(UserError, match=r"1 of 4 rows differ \(random\)"):
        main(*boards)
    told = capsys.readouterr().err
    lines = [line.split() for line in told.splitlines() if line.startswith("mine")]
    assert lines[0][4:8] == ["within", "tolerance", "+0.002", "nDCG@10/all"]
    assert lines[1][4:7] == ["differs", "+0.3", "nDCG@10/all"]
    assert lines[2][2:4] == ["baseline", "same"]
    assert "- commit: c1 when committed, c1 and c2 now" in told
    assert (boards[1] / "comparison.txt").read_text().strip() == told.strip()
    written = pd.read_csv(boards[1] / "comparison.csv")
    assert written["verdict"].tolist() == [WITHIN, DIFFERS, SAME, SAME]


def test_a_table_that_was_changed_by_hand_is_told(boards: tuple[Path, Path], capsys) -> None:
    board(simans__all=0.51).to_csv(boards[0] / "leaderboard.csv", index=False)
    with pytest.raises(UserError, match=r"differ \(simans\)"):
        main(*boards)
    assert f"- {EDITED}" in capsys.readouterr().err
    written = pd.read_csv(boards[1] / "comparison.csv", keep_default_na=False)
    assert written["reason"].tolist() == [EDITED, "", "", ""]


def test_a_board_of_an_older_form_is_refused(boards: tuple[Path, Path]) -> None:
    board().drop(columns="tier").to_csv(boards[0] / "leaderboard.csv", index=False)
    with pytest.raises(UserError, match="lacks the column tier, as boards of an older format do"):
        main(*boards)
    (boards[0] / "leaderboard.csv").unlink()
    with pytest.raises(UserError, match=r"leaderboard.csv: there is no such file"):
        main(*boards)
