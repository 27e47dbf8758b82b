"""Figure generated: how many texts made as negatives answer their query after all, by a judge."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from negmark.board.figures import drawing
from negmark.board.figures.drawing import CONTROLLED, FAITHFUL, PAGE
from negmark.board.generated_texts import COLUMNS
from negmark.core.errors import UserError
from negmark.core.spreadsheet import read_table
from negmark.store.auxiliary import RETRIEVED
from negmark.store.board import Board

NAMES = {"edits": "edit", "written": "model", RETRIEVED: "retrieved"}
MADE, FOUND, PASSED = CONTROLLED, "#9a9a9a", FAITHFUL
ROW = 0.26  # inches


def draw_generated(table: Path, dataset: str, folder: Path) -> None:
    """Draw the table of made texts of `dataset` into `folder`/`dataset`-generated.*: two panels, a bar a kind.

    Left the share that the judge scores at least as high as the positive, right the share that passed the filter.
    """
    stem = folder / f"{dataset}-generated"
    try:
        tidy = read_table(table)
    except (OSError, ValueError) as error:
        raise UserError(f"{table}: can't be read ({error}); delete it and run again") from None
    if tidy.empty:
        drawing.save_nothing(stem, COLUMNS, f"No text could be made of the positives of {dataset}.")
        return
    labels = [f"{kind} ({NAMES[source]})" for source, kind in zip(tidy["source"], tidy["kind"], strict=True)]
    colors = [FOUND if source == RETRIEVED else MADE for source in tidy["source"]]
    places = list(range(len(tidy)))
    with drawing.styled():
        figure = Figure(figsize=(PAGE, 0.8 + ROW * len(tidy)), layout="constrained")
        answering, passing = figure.subplots(1, 2, sharey=True)
        answering.barh(places, 100 * tidy["answers"], color=colors)
        answering.set_xlabel("answer the query by the judge (%)")
        passing.barh(places, 100 * tidy["passes"].fillna(0), color=PASSED)
        passing.set_xlabel("pass the filter (%)")
        answering.set_yticks(places, labels)
        answering.invert_yaxis()
        for axes in (answering, passing):
            axes.set_xlim(0, 100)
            axes.grid(axis="x")
        drawing.save(figure, stem, tidy, caption(tidy, dataset))


def caption(tidy: pd.DataFrame, dataset: str) -> str:
    """Return what the figure shows, with the counts."""
    made = tidy[tidy["source"] != RETRIEVED]
    equal = int((made["equals_document"] * made["texts"]).round().sum())
    positive = int((made["equals_positive"] * made["texts"]).round().sum())
    return (
        f"Texts made as negatives from the positives of {dataset}'s training queries: {int(made['texts'].sum()):,}. "
        f"Left, the share that {tidy['judge'].iloc[0]} scores at least as high as the positive, so that they may "
        "answer the query; in grey the same of the first documents that BM25 and the encoder find. Right, the share "
        f"that may be negatives. {equal:,} texts are a document of the corpus, {positive:,} of them a positive of the "
        "query; none of these is used. The judge is a model, not a person."
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    draw_generated(board.folder / "generated" / f"{dataset}.csv", dataset, folder)


if __name__ == "__main__":
    drawing.command(draw)
