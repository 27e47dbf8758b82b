"""What YAML takes for something else than it looks like is told, not taken."""

from pathlib import Path

import pytest
from snakemake.common.configfile import load_configfile

from negmark.suite.open import open_suite

SUITE = (
    "suite: {suite}\ndatasets: {{{dataset}: {{source: scifact}}}}\nmethods: {{{row}: {{method: random}}}}\n"
)
NAMES = {"suite": "s", "dataset": "mine", "row": "random"}


def told(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> str:
    file = folder / "s.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit):
        open_suite(load_configfile(str(file)), [file])
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize("written", ["no", "on", "~", "7", "1.5", "2024-01-01"])
def test_a_name_that_yaml_reads_as_something_else_is_to_be_quoted(key, written, tmp_path, capsys):
    line = told(tmp_path, capsys, SUITE.format(**{**NAMES, key: written}))
    assert line.startswith(f"error: {tmp_path}/s.yaml: ")
    assert line.endswith(" for this value: put it in quotes")


def test_the_words_for_true_and_false_are_named(tmp_path, capsys):
    assert "(no, off or false)" in told(tmp_path, capsys, SUITE.format(**{**NAMES, "dataset": "no"}))
    assert "(yes, on or true)" in told(tmp_path, capsys, SUITE.format(**{**NAMES, "row": "on"}))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0500", "base 8"),
        ("-010", "base 8"),
        ("00_7", "base 8"),
        ("1:30", "base 60"),
        ("10:00:00", "base 60"),
    ],
)
def test_a_number_that_is_another_one_is_refused_with_its_line(written, meant, tmp_path, capsys):
    """0500 steps would be 320."""
    text = f"{SUITE.format(**NAMES)}training: {{steps: {written}}}\n"
    assert f"s.yaml: line 4: YAML takes {written} for a number in {meant}: write it" in told(
        tmp_path, capsys, text
    )


@pytest.mark.parametrize("written", ["0", "00", "500", "1_000", "0x10", "'0500'"])
def test_other_whole_numbers_are_taken(written, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(f"{SUITE.format(**NAMES)}training: {{curve_every: {written}}}\n")
    open_suite(load_configfile(str(file)), [file])
