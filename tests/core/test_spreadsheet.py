"""Tables as CSV: what is read back is what was written."""

import pandas as pd
import pytest

from builders import ROOT
from negmark.core.spreadsheet import csv, read_csv, read_table

NAMES = ["nan", "null", "007", "1e5", "true", "inf", "2024"]
"""Names that a row or a dataset may have, and that pandas takes for something else."""


@pytest.mark.parametrize("names", [NAMES, ["1", "2"], ["true", "true"], ["nan", "nan"]])
def test_a_name_is_text_whatever_it_looks_like(names, tmp_path):
    written = pd.DataFrame({"dataset": names, "row": names, "mean": 0.5, "start": None})
    (tmp_path / "t.csv").write_text(csv(written))
    for table in (
        read_table(tmp_path / "t.csv"),
        read_csv(tmp_path / "t.csv", written.columns, ["mean"], "a board"),
    ):
        assert table["dataset"].tolist() == table["row"].tolist() == names
        assert table["mean"].tolist() == [0.5] * len(names)
    assert read_table(tmp_path / "t.csv")["start"].isna().all()


def test_an_empty_cell_among_numbers_is_none(tmp_path):
    (tmp_path / "t.csv").write_text("row,p,rank\nnan,,1\nb,0.5,\n")
    table = read_table(tmp_path / "t.csv")
    assert table["p"].isna().tolist() == [True, False]
    assert table["rank"].isna().tolist() == [False, True]


def test_no_other_place_reads_csv():
    """Else names would be guessed at again."""
    files = [*(ROOT / "workflow").rglob("*.py"), *(ROOT / "methods").glob("*.py")]
    reading = {file.name for file in files if "pd.read_csv(" in file.read_text(encoding="utf-8")}
    assert reading == {"spreadsheet.py"}
