"""Two runs by randomisation: a p-value worked by hand, and one-line messages for mistakes."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negmark.compare.two_runs import LABEL, main, table
from negmark.core.errors import UserError
from negmark.core.metrics import DEFAULT


def write(folder: Path, values: list[float], queries: str = "abcdef") -> Path:
    folder.mkdir()
    columns = {"query": list(queries), **dict.fromkeys(DEFAULT, values)}
    pq.write_table(pa.table(columns), folder / "per_query.parquet")
    (folder / "metrics.json").write_text(json.dumps({"metrics": DEFAULT}))
    return folder


def test_six_queries_that_all_gain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # of 64 ways to sign six gains, only all plus and all minus are as extreme: 2 / 64 = .03125
    one = write(tmp_path / "one", [0.1] * 6)
    other = write(tmp_path / "other", [0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    first = table(one, other)[0]
    assert (first["metric"], first["first"], first["second"]) == (
        "nDCG@10",
        pytest.approx(0.1),
        pytest.approx(0.45),
    )
    assert first["difference"] == pytest.approx(0.35)
    assert first["p"] == pytest.approx(2 / 64, abs=0.006)
    main(one, other)
    output = capsys.readouterr().out
    assert LABEL in output
    assert "+0.3500" in output


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [row["p"] for row in table(one, one)] == [1, 1, 1]


def test_mistakes_are_reported_in_one_line(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [0.1] * 6)
    with pytest.raises(UserError, match=r"none/per_query.parquet: no such file"):
        table(one, tmp_path / "none")
    with pytest.raises(UserError, match="was evaluated on other queries"):
        table(one, write(tmp_path / "other", [0.1] * 6, queries="abcdeg"))
    (one / "per_query.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="can't be read"):
        table(one, one)
