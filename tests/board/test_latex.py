"""The board as LaTeX: text that can't break it, what stands in which cell, and that it compiles where LaTeX is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from board_files import ANCE, PAPER, collated, write_card, write_runs, write_suite, write_two_tiers
from negmark.board.latex import escaped


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a_b & 5 % of #1 {x} $y", r"a\_b \& 5 \% of \#1 \{x\} \$y"),
        ("~ ^ \\z", r"\textasciitilde{} \textasciicircum{} \textbackslash{}z"),
        ("-0.020 ±0.005", r"$-$0.020 $\pm$0.005"),
        ("<0.001", "$<$0.001"),
        ("BM25-2 x\ny", "BM25-2 x y"),
        ("—", "--"),
    ],
)  # fmt: skip
def test_text_is_shown_as_it_is(text: str, told: str) -> None:
    assert escaped(text) == told


def cells(text: str, label: str) -> list[list[str]]:
    """The cells of the table with that label, below its heads."""
    table = next(part for part in text.split(r"\begin{table}") if f"label{{tab:{label}}}" in part)
    body = table.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    rows = [line.strip().removesuffix(r"\\") for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


def test_a_table_has_what_ranks_and_what_is_sure_of_it(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path, title="Sim_ANS 100 %")
    metrics += write_runs(tmp_path, "scifact", "ance", ANCE)
    collated(metrics, cards, tmp_path)
    text = (tmp_path / "leaderboard.tex").read_text()
    simans, inbatch, untrained, _ = cells(text, "quickstart-scifact")
    assert simans[:2] == ["1", r"Sim\_ANS 100 \%"]
    assert simans[2:6] == [
        r"0.533 $\pm$0.083", r"0.700 $\pm$$<$0.001", r"\textbf{0.200 $\pm$0.248}", r"+0.050 $\pm$0.249",
    ]  # fmt: skip
    assert inbatch[5] == "--", "the reference has no difference from itself"
    assert untrained[:2] == ["", "untrained (baseline)"]
    assert {len(row) for row in (simans, inbatch, untrained)} == {9}
    assert "10 unseen" in text.split(r"\caption{")[1].split("\n")[0]


def test_a_ranking_that_tells_nothing_has_neither_ranks_nor_a_best(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    collated(metrics, cards, tmp_path)
    text = (tmp_path / "leaderboard.tex").read_text()
    assert [row[0] for row in cells(text, "quickstart-scifact")] == ["", "", ""]
    assert r"\textbf{0.200" not in text
    assert "Tells nothing about these methods: none differs from inbatch (smallest p 0.478)." in text


def test_rankings_are_parted_by_a_rule(tmp_path: Path) -> None:
    metrics, cards = write_two_tiers(tmp_path)
    collated(metrics, cards, tmp_path)
    found = cells((tmp_path / "leaderboard.tex").read_text(), "quickstart-scifact")
    assert [row[1] for row in found if row[0].startswith(r"\midrule")] == ["inbatch (finetune)"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed")
def test_it_compiles(tmp_path: Path) -> None:
    metrics, cards = write_two_tiers(tmp_path)
    for row, tier in (("inbatch", "adapter"), ("odd_#1$%&{", "finetune")):
        values = {"unseen": (0.3, 0.4), "seen": (0.5, 0.6)}
        metrics += write_runs(tmp_path, "wordnet", row, values, tier=tier)
    cards += [write_card(tmp_path, "wordnet", source="~x^2\\y")]
    collated(metrics, cards, tmp_path / "paper")
    (tmp_path / "paper" / "paper.tex").write_text(PAPER)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path / "paper", capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper" / "paper.pdf").stat().st_size > 5_000
    assert "Overfull" not in done.stdout, "it fits a page"
