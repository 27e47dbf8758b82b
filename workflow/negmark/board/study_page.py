"""A study in words and tables: for a repository's page, as one HTML file, and for the terminal."""

from pathlib import Path

import jinja2
import pandas as pd
from tabulate import tabulate

from negmark.board.page import REPORT, figure_of
from negmark.compare.agreement import NEITHER, ONLY_HERE, ONLY_THERE, REVERSED, SAME
from negmark.core.names import Row, records
from negmark.core.notation import counted, listed, number, plain
from negmark.suite.study import Study

CERTAIN = 0.05


def markdown(study: Study, rows: pd.DataFrame, agreements: pd.DataFrame, couples: pd.DataFrame) -> str:
    """Return the study for a repository's page."""
    parts = [f"# Study: {plain(study.name)}", plain(reading(study))]
    for dataset, mine in rows.groupby("dataset", sort=False):
        parts += [
            f"## {plain(str(dataset))}",
            *map(plain, sentences(study, str(dataset), mine, agreements, couples)),
        ]
        heads, lines = values_table(study, mine)
        parts.append(tabulate([list(map(plain, line)) for line in lines], list(map(plain, heads)), tablefmt="github",
                              disable_numparse=True))  # fmt: skip
        if len(agreements):
            heads, lines = agreement_table(study, str(dataset), agreements)
            parts.append(tabulate(lines, heads, tablefmt="github", disable_numparse=True))
        parts.append(f"![{plain(str(dataset))}](figures/{dataset}-{figure_name(study)}.svg)")
    return "\n\n".join(parts) + "\n"


def page(
    study: Study, rows: pd.DataFrame, agreements: pd.DataFrame, couples: pd.DataFrame, folder: Path
) -> str:
    """Return the study as one HTML file that needs no network; figures are read from `folder`/figures."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(REPORT), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    sections = []
    for dataset, mine in rows.groupby("dataset", sort=False):
        tables = [values_table(study, mine)]
        if len(agreements):
            tables.append(agreement_table(study, str(dataset), agreements))
        sections.append(
            {
                "name": str(dataset),
                "sentences": sentences(study, str(dataset), mine, agreements, couples),
                "tables": [{"heads": heads, "lines": lines} for heads, lines in tables],
                "figure": figure_of(folder / "figures", f"{dataset}-{figure_name(study)}"),
            }
        )
    boards = [
        {"name": variant.suite, "href": f"../{variant.suite}/leaderboard.html"} for variant in study.variants
    ]
    return environment.get_template("study.html").render(
        study=study.name, reading=reading(study), sections=sections, boards=boards,
        style=(REPORT / "leaderboard.css").read_text(encoding="utf-8"),
    )  # fmt: skip


def terminal(study: Study, rows: pd.DataFrame, agreements: pd.DataFrame) -> str:
    """Return the study for the end of a run."""
    parts = []
    for dataset, mine in rows.groupby("dataset", sort=False):
        parts.append(f"{dataset}: {mine['metric'].iloc[0]} by {' and '.join(study.axes)}")
        heads, lines = values_table(study, mine)
        parts.append(tabulate(lines, heads, tablefmt="simple", disable_numparse=True))
        if len(agreements):
            heads, lines = agreement_table(study, str(dataset), agreements)
            parts.append(tabulate(lines, heads, tablefmt="simple", disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def figure_name(study: Study) -> str:
    """Return what the study's figures are called behind the dataset's name."""
    return "response" if study.against is None else "agreement"


def reading(study: Study) -> str:
    """Return how to read the study."""
    text = (
        "Each column is a board of its own, with its own budget and start, and its rows are compared with each other "
        "alone. A value is the mean over seeds ± the half-width of its 95 % Student t interval."
    )
    if study.against is None:
        return (
            f"{text} Differences are from the reference of the same board; their intervals cover other seeds and other "
            "queries."
        )
    return (
        f"{text} The others' orders of rows are held against that of {study.against}: Kendall's tau-b of the means, "
        "with a 95 % interval over resampled seeds and queries, and all pairs of rows, told apart where p < .05 after "
        "Holm over all pairs of a board."
    )


def values_table(study: Study, rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of a table of rows by variants, best of the last variant first, baselines last."""
    axes, lines = list(study.axes), []
    places = list(rows[axes].drop_duplicates().itertuples(index=False, name=None))
    cells = {(*(row[axis] for axis in axes), row["row"]): row for row in records(rows)}
    last = rows[(rows[axes] == pd.Series(dict(zip(axes, places[-1], strict=True)))).all(axis=1)]
    order = {row["row"]: row["mean"] for row in records(last)}
    about = sorted(
        records(rows.drop_duplicates("row")),
        key=lambda row: (row["track"] == "baseline", -order.get(row["row"], 0.0)),
    )
    for row in about:
        found = [cells.get((*place, row["row"])) for place in places]
        note = " (baseline)" if row["track"] == "baseline" else " (control)" if row["control"] else ""
        lines.append(
            [
                row["title"] + note,
                *("" if cell is None else number(cell["mean"], cell["low"]) for cell in found),
            ]
        )
    return ["", *(", ".join(map(str, place)) for place in places)], lines


def agreement_table(
    study: Study, dataset: str, agreements: pd.DataFrame
) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of the agreement of each variant with the one that all are held against."""
    axis = next(iter(study.axes))
    mine = agreements[agreements["dataset"] == dataset]
    heads = [axis, "rows", "tau-b", "pairs: both, alike", "the other way round", "this one only",
             f"{study.against} only", "neither"]  # fmt: skip
    lines = [
        [
            str(row[axis]), str(row["rows"]), f"{row['tau']:z.2f} ({row['low']:z.2f} to {row['high']:z.2f})",
            *(str(row[word]) for word in (SAME, REVERSED, ONLY_HERE, ONLY_THERE, NEITHER)),
        ]
        for row in records(mine)
    ]  # fmt: skip
    return heads, lines


def sentences(
    study: Study, dataset: str, rows: pd.DataFrame, agreements: pd.DataFrame, couples: pd.DataFrame
) -> list[str]:
    """Return what the study says of a dataset."""
    if study.against is None:
        return [_helped(study, rows)]
    axis, titles = next(iter(study.axes)), dict(zip(rows["row"], rows["title"], strict=True))
    said = []
    for row in records(agreements[agreements["dataset"] == dataset]):
        known = row[SAME] + row[REVERSED] + row[ONLY_THERE]
        mine = couples[
            (couples["dataset"] == dataset) & (couples[axis] == row[axis]) & (couples["verdict"] == REVERSED)
        ]
        wrong = [_turned(pair, titles) for pair in records(mine)]
        text = (
            f"{str(row[axis]).capitalize()}: tau-b {row['tau']:z.2f} ({row['low']:z.2f} to {row['high']:z.2f}). Of the "
            f"{counted(known, 'pair')} that {study.against} tells apart, it tells {row[SAME]} apart the same way and "
            f"{row[REVERSED]} the other way round; {row[ONLY_HERE]} it tells apart that {study.against} doesn't."
        )
        said.append(f"{text} The other way round: {'; '.join(wrong)}." if wrong else text)
    return said


def _turned(pair: Row, titles: dict[str, str]) -> str:
    first, second = titles[pair["first"]], titles[pair["second"]]
    better, worse = (first, second) if pair["here"] > 0 else (second, first)
    return f"{better} over {worse}"


def _helped(study: Study, rows: pd.DataFrame) -> str:
    """Say in which variants which rows are above the reference, and below it, beyond doubt."""
    axes = list(study.axes)
    tested = rows[(rows["track"] != "baseline") & ~rows["control"] & rows["p"].notna()]
    said = []
    for title, mine in tested.groupby("title", sort=False):
        up, down = (
            [", ".join(str(row[axis]) for axis in axes) for row in records(part)]
            for part in (
                mine[(mine["p"] < CERTAIN) & (mine["difference"] > 0)],
                mine[(mine["p"] < CERTAIN) & (mine["difference"] < 0)],
            )
        )
        above = f"above the reference at {listed(up)}" if up else "above it nowhere"
        said.append(f"{title} is {above}" + (f", below it at {listed(down)}" if down else ""))
    return ". ".join(said) + "."
