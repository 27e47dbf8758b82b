"""Stage leaderboard: collate the runs of a suite into CSV, Markdown, LaTeX, a web page and a terminal table.

Everything shown is computed from the rows of `standings.standings`; equal inputs give equal bytes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from negmark.board.findings import with_differences, with_false_negatives, with_orders, with_rises
from negmark.board.known_truth import truth_sentences
from negmark.board.latex import latex
from negmark.board.leftovers import leftovers
from negmark.board.overview import overview
from negmark.board.page import page
from negmark.board.prose import captions
from negmark.board.standings import standings
from negmark.board.tables import board_csv, markdown, summary
from negmark.compare.differences import read_differences
from negmark.compare.rising import Rises, read_rises
from negmark.core import stage
from negmark.core.files import read_json, write_text
from negmark.store.contents import read_contents
from negmark.store.failures import FailedRow
from negmark.store.run import as_placed, one_suite, read_run


def collate(
    metrics: list[Path],
    cards: list[Path],
    settings: dict[str, Any],
    folder: Path,
    failed: Sequence[FailedRow] = (),
    controls: Sequence[str] = (),
    rises: Rises | None = None,
    untuned: Sequence[str] = (),
) -> str:
    """Write leaderboard.csv, .md, .tex, .html and summary.txt into `folder`; returns the summary's text.

    `metrics` are the metrics.json of a suite's runs, `cards` its datasets' cards. `settings` is what all
    methods share and the board must state: encoder, steps, batch_size, negatives, seeds, and `reference`, the row that
    others are compared with. `folder` must hold differences.csv, the differences from it. The page includes the
    figures of `folder`/figures; the board of a dataset that hides labels shows the false negatives counted by its
    audit in `folder`/audit, and says what its table in `folder`/truth shows. `failed` are the rows without a result,
    which are last in their tables, `untuned` those without a rank below tuned ones. `controls` are the rows that nobody
    can choose, `rises` what rows with a learning curve gained on dev at their end.
    """
    runs = [as_placed(read_run(path), untuned) for path in metrics]
    described = {card["name"]: card for card in map(read_json, cards)}
    frame, suite = standings(runs, described), one_suite(runs)
    apart = read_differences(folder / "differences.csv")
    frame = with_rises(with_orders(with_differences(frame, apart), controls), rises or {})
    frame = with_false_negatives(frame, described, folder / "audit")
    settings = {
        **settings,
        "known_truth": {name: truth_sentences(folder / "truth" / f"{name}.csv") for name in described},
    }
    whole = overview(frame, apart, described)
    text = summary(frame, described, settings, failed)
    write_text(folder / "leaderboard.csv", board_csv(frame, failed))
    write_text(folder / "leaderboard.md", markdown(frame, whole, described, settings, suite, failed))
    below = captions(frame, described, settings, failed)
    write_text(folder / "leaderboard.tex", latex(frame, whole, suite, below))
    write_text(folder / "leaderboard.html", page(frame, whole, described, settings, suite, folder, failed))
    write_text(folder / "summary.txt", text)
    return text


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    settings: Annotated[str, Option(help="what every method shared, as JSON")],
    folder: Annotated[Path, Option(help="where the board goes")],
) -> None:
    """Write the leaderboard of a suite, and clear its folder of what an older version of the suite left there."""
    listed = read_contents(contents)
    for path in leftovers(folder, listed):
        path.unlink()
        stage.say(f"{path} is gone: the suite no longer has it")
    cards = [folder / "cards" / f"{name}.json" for name in listed.cards]
    metrics, rises = listed.files("metrics.json"), read_rises(listed)
    collate(
        metrics, cards, json.loads(settings), folder, listed.failed, listed.controls, rises, listed.untuned
    )


if __name__ == "__main__":
    stage.command(main)
