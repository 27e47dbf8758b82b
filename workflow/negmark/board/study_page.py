"""A study in words and tables: for a repository's page, as one HTML file, and for the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from negmark.board.figures.orders import with_bounds
from negmark.board.page import REPORT, figure_of, rendered
from negmark.board.prose import SURE
from negmark.board.study_sections import Findings, Section
from negmark.compare.agreement import NEITHER, ONLY_HERE, ONLY_THERE, REVERSED, SAME
from negmark.core.metrics import decimals
from negmark.core.names import Row, records
from negmark.core.notation import MISSING, chance, counted, listed, marked, number, plain
from negmark.suite.study import BETWEEN, Study


def markdown(study: Study, shown: Sequence[Section], found: Findings) -> str:
    """Return the study for a repository's page."""
    parts = [f"# Study: {plain(study.name)}", plain(reading(study))]
    for section in shown:
        parts += [f"## {plain(section.title)}", *map(plain, sentences(section, found.of(section.dataset)))]
        for heads, lines in tables(section, found.of(section.dataset)):
            cells = [list(map(plain, line)) for line in lines]
            parts.append(tabulate(cells, list(map(plain, heads)), tablefmt="github", disable_numparse=True))
        parts.append(f"![{plain(section.title)}](figures/{section.stem}.svg)")
    return "\n\n".join(parts) + "\n"


def page(study: Study, shown: Sequence[Section], found: Findings, folder: Path) -> str:
    """Return the study as one HTML file that needs no network; figures are read from `folder`/figures."""
    parts = [
        {
            "name": section.title,
            "sentences": sentences(section, found.of(section.dataset)),
            "tables": [
                {"heads": heads, "lines": lines}
                for heads, lines in tables(section, found.of(section.dataset))
            ],
            "figure": figure_of(folder / "figures", section.stem),
        }
        for section in shown
    ]
    boards = [
        {"name": variant.suite, "href": f"../{variant.suite}/leaderboard.html"} for variant in study.variants
    ]
    template = REPORT / "study.html"
    return rendered(template, study=study.name, reading=reading(study), sections=parts, boards=boards)


def terminal(study: Study, shown: Sequence[Section], found: Findings) -> str:
    """Return the study for the end of a run."""
    parts = []
    for section in shown:
        axes = " and ".join(section.study.axes)
        parts.append(f"{section.dataset}: {section.rows['metric'].iloc[0]} by {axes}")
        parts += [
            tabulate(lines, heads, tablefmt="simple", disable_numparse=True)
            for heads, lines in tables(section, found.of(section.dataset))
        ]
    return "\n\n".join(parts) + "\n"


def tables(section: Section, found: Findings) -> list[tuple[list[str], list[list[str]]]]:
    """Return heads and lines of a section's tables."""
    values = values_table(section.study, section.rows)
    if not len(found.agreement):
        return [values]
    return [values, agreement_table(section.study, section.dataset, found.agreement)]


def reading(study: Study) -> str:
    """Return how to read the study."""
    text = (
        "Each column is a board of its own, with its own budget and start, and its rows are compared with each other "
        "alone. A value is the mean over seeds ± the half-width of its 95 % Student t interval."
    )
    if study.base is not None:
        own = listed([f"{axis} {label}" for axis, label in zip(study.axes, study.base, strict=True)])
        return (
            f"{text} One key at a time has another value than the suite's own ({own}). Differences from a row's own "
            "result at that value see other seeds and other queries; p is adjusted (Holm) for all rows and values of a "
            "key on a dataset. Steps are fixed, so a larger batch sees more queries."
        )
    if study.against is None:
        return (
            f"{text} Differences are from the reference of the same board; their intervals cover other seeds and other "
            "queries."
        )
    return (
        f"{text} The others' orders of rows are held against that of {study.against}: Kendall's tau-b of the means, "
        "in brackets where 95 % of the resamples of seeds and queries lie, beside the ceiling that noise sets (how far "
        f"the order of {study.against} agrees with its own resamples); and all pairs of rows, told apart where p < .05 "
        "after Holm over all pairs of a board."
    )


def values_table(study: Study, rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of a table of rows by variants, best of the last variant first, baselines last."""
    axes, lines = study.columns, []
    digits = decimals(rows["metric"].iloc[0])
    places = list(rows[axes].drop_duplicates().itertuples(index=False, name=None))
    cells = {(*(row[axis] for axis in axes), row["row"]): row for row in records(rows)}
    order = {
        row["row"]: row["mean"] for row in cells.values() if tuple(row[axis] for axis in axes) == places[-1]
    }
    about = sorted(
        records(rows.drop_duplicates("row")),
        key=lambda row: (row["track"] == "baseline", -order.get(row["row"], 0.0)),
    )
    for row in about:
        found = [cells.get((*place, row["row"])) for place in places]
        note = " (baseline)" if row["track"] == "baseline" else " (control)" if row["control"] else ""
        name = row["title"] if note else marked(row)
        lines.append(
            [
                name + note,
                *("" if cell is None else number(cell["mean"], cell["low"], digits) for cell in found),
            ]
        )
    return ["", *(BETWEEN.join(map(str, place)) for place in places)], lines


def agreement_table(
    study: Study, dataset: str, agreements: pd.DataFrame
) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of the agreement of each variant with the one that all are held against."""
    mine = agreements[agreements["dataset"] == dataset]
    heads = [next(iter(study.axes)), "rows", "pairs: both, alike", "the other way round", "this one only",
             f"{study.against} only", "neither", "tau-b", "ceiling"]  # fmt: skip
    lines = [
        [
            str(row[study.columns[0]]), str(row["rows"]),
            *(str(row[word]) for word in (SAME, REVERSED, ONLY_HERE, ONLY_THERE, NEITHER)),
            with_range(row["tau"], row["low"], row["high"]), two(row["ceiling"]),
        ]
        for row in records(mine)
    ]  # fmt: skip
    return heads, lines


def with_range(value: float, low: float, high: float) -> str:
    """`0.60 (0.47 to 0.73)`; a dash where all means of a board are equal."""
    return MISSING if math.isnan(value) else with_bounds(value, low, high)


def two(value: float) -> str:
    """Return a number with two decimals, a dash for none."""
    return MISSING if math.isnan(value) else f"{value:z.2f}"


def sentences(section: Section, found: Findings) -> list[str]:
    """Return what the study says of a dataset."""
    study, rows = section.study, section.rows
    if study.base is not None:
        return [*_changed(study, found.effects), *_helped(study, rows)]
    if study.against is None:
        return _helped(study, rows)
    axis, titles = study.columns[0], {row["row"]: row["title"] for row in records(rows)}
    said = []
    for row in records(found.agreement):
        known = row[SAME] + row[REVERSED] + row[ONLY_THERE]
        mine = found.pairs[(found.pairs[axis] == row[axis]) & (found.pairs["verdict"] == REVERSED)]
        wrong = [_turned(pair, titles) for pair in records(mine)]
        label = str(row[axis])
        text = (
            f"{label[:1].upper()}{label[1:]}: of the {counted(known, 'pair')} that {study.against} tells apart, it "
            f"tells {row[SAME]} apart the same way and {row[REVERSED]} the other way round; {row[ONLY_HERE]} it tells "
            f"apart that {study.against} doesn't. Tau-b is {with_range(row['tau'], row['low'], row['high'])}, where "
            f"noise alone leaves about {two(row['ceiling'])}."
        )
        said.append(f"{text} The other way round: {'; '.join(wrong)}." if wrong else text)
    return said


def _turned(pair: Row, titles: dict[str, str]) -> str:
    first, second = titles[pair["first"]], titles[pair["second"]]
    better, worse = (first, second) if pair["here"] > 0 else (second, first)
    return f"{better} over {worse}"


def _changed(line: Study, effects: pd.DataFrame) -> list[str]:
    """Say what other values than the suite's own change: a sentence a row, one for all that nothing is shown of."""
    axis, own = next(iter(line.axes)), line.base[0] if line.base else ""
    mine = effects[(effects["key"] == axis) & effects["p"].notna()] if len(effects) else effects
    said, unmoved = [], []
    for _, values in mine.groupby("row", sort=False) if len(mine) else ():
        rows = records(values)
        sure = sorted((row for row in rows if row["p"] < SURE), key=lambda row: -row["difference"])
        if not sure:
            unmoved.append(marked(rows[0]))
            continue
        told = [f"{row['difference']:+.3f} at {row['value']} (p {_below(chance(row['p']))})" for row in sure]
        same = [str(row["value"]) for row in rows if row["p"] >= SURE]
        rest = f"; no difference shown at {listed(same)}" if same else ""
        said.append(f"{marked(rows[0])}, against {axis} {own}: {listed(told)}{rest}.")
    if unmoved:
        said.append(f"No difference from {axis} {own} is shown of {listed(unmoved)}.")
    return said


def _below(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _helped(study: Study, rows: pd.DataFrame) -> list[str]:
    """Say in which variants which rows are above the reference, and below it, beyond doubt; a sentence a row."""
    tested = rows[(rows["track"] != "baseline") & ~rows["control"] & rows["p"].notna()]
    said = []
    for _, mine in tested.groupby("row", sort=False):
        up, down = (
            [BETWEEN.join(str(row[axis]) for axis in study.columns) for row in records(part)]
            for part in (
                mine[(mine["p"] < SURE) & (mine["difference"] > 0)],
                mine[(mine["p"] < SURE) & (mine["difference"] < 0)],
            )
        )
        places = "everywhere" if len(up) == len(mine) else f"at {listed(up)}" if up else "nowhere"
        text = f"{marked(records(mine)[0])} is above {_reference(rows, mine)} {places}"
        said.append(text + (f", below it at {listed(down)}." if down else "."))
    return said


def _reference(rows: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Return the title of the row that these are compared with; `the reference` where boards differ in it."""
    titles = {marked(row) for row in records(rows[rows["row"].isin(compared["reference"])])}
    return titles.pop() if len(titles) == 1 else "the reference"
