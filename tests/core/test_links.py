"""The Markdown files agree with the project: links, numbers, methods, suites and rooms."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

import negmark
from builders import ROOT
from negmark.methods import registry

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md")])
README = ROOT / "README.md"


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that a page's headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def tables(page: Path) -> list[list[str]]:
    """The cells of all rows of a page's tables."""
    lines = [line for line in text_of(page).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    inline = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    named = re.findall(r"^\[[^\]]+\]: (\S+)$", text_of(page), flags=re.MULTILINE)
    for link in [*inline, *named]:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.relative_to(ROOT)}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.relative_to(ROOT)}: {link}"


def test_the_readme_is_short_and_its_example_comes_first() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert text.count("```python\n") == 1


def test_the_short_answer_has_the_numbers_of_the_committed_boards() -> None:
    head, _, _, boards, seeds, *rows = tables(README)
    answer = rows[: next(place for place, row in enumerate(rows) if len(row) != len(head))]
    assert len(answer) == 8
    for column in range(1, len(head)):
        dataset, tier = head[column].lower().split(", ")
        board = pd.read_csv(
            ROOT / "results" / "leaderboards" / boards[column].strip("[]") / "leaderboard.csv"
        )
        board = board[board["dataset"] == dataset]
        for title, *cells in answer:
            untrained = title == "Untrained encoder"
            place = board["row"] == "untrained" if untrained else board["title"] == title
            (row,) = board[place & (untrained | (board["tier"] == tier))].to_dict("records")
            mean, low, high = (row[f"nDCG@10/unseen/{part}"] for part in ("mean", "low", "high"))
            wanted = f"{mean:.3f}" if untrained else f"{mean:.3f} ±{(high - low) / 2:.3f}"
            assert cells[column - 1] == wanted, (title, head[column])
            assert untrained or row["seeds"] == int(seeds[column])


def test_the_table_of_methods_has_every_method_and_says_which_are_in_both_tracks() -> None:
    cells = [row[0] for row in tables(ROOT / "methods" / "README.md") if row[0].startswith("[`")]
    rows = {re.findall("`(.+?)`", cell)[0]: cell[-1] if cell[-1] in "*†" else "" for cell in cells}
    own = {
        name: kind for name, kind in registry.available().items() if kind.__module__.startswith("negmark.")
    }
    alone = {name for name, kind in own.items() if kind.refusal(kind.Params(), "controlled")}
    assert rows == {name: "†" if name in alone else "*" * kind.faithful for name, kind in own.items()}


def test_the_table_of_suites_has_every_suite() -> None:
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[(.+?)\]", text, flags=re.MULTILINE)) == {
        path.stem for path in (ROOT / "config").glob("*.yaml")
    }


def test_the_table_of_rooms_has_every_room() -> None:
    rooms = {
        path.name for path in (ROOT / "workflow" / "negmark").iterdir() if (path / "__init__.py").is_file()
    }
    rows = {row[0].strip("`") for row in tables(ROOT / "workflow" / "README.md") if row[0].startswith("`")}
    assert rooms <= rows


def test_the_citation_is_of_this_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == project["license"]
    assert citation["version"] == negmark.__version__
    assert f"## [{negmark.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all({"type", "title", "authors"} <= set(entry) for entry in citation["references"])
    assert (ROOT / project["license-files"][0]).is_file()
