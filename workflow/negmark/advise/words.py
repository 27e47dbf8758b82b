"""Advice in words: what to take, how sure that is, what it costs, what may be false, what was left out."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from negmark.advise.choice import Choice, Verdict, seconds
from negmark.advise.suspects import Suspects
from negmark.core.metrics import decimals
from negmark.core.names import BASELINES, LEXICAL, UNTRAINED, Row
from negmark.core.notation import MISSING, chance, clock, counted, first_of, listed, number
from negmark.core.tiers import TIERS

NAMED = 4


@dataclass(frozen=True)
class Advice:
    """All that is said of a dataset."""

    choice: Choice
    audit: Mapping[str, float]
    """Of the file's row, over its whole run and all seeds: the columns of the audit."""
    hidden: bool
    """Are labels hidden from training, so that false negatives are counted?"""
    suspects: Suspects | None
    files: list[Path]
    """The file of negatives, and the record beside it."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the record says."""

    @property
    def name(self) -> str:
        """The dataset."""
        return self.choice.dataset


def headline(choice: Choice) -> str:
    """Return what to take in a sentence."""
    title = choice.taken["title"]
    match choice.verdict:
        case Verdict.UNTRAINED:
            return f"On {choice.dataset}: train on none of these yet."
        case Verdict.NOTHING:
            return f"On {choice.dataset}: no difference between methods is shown; take the cheapest, {title}."
        case Verdict.AMONG:
            return (
                f"On {choice.dataset}: take {title}, the cheapest of those that lead and can't be told apart."
            )
    return f"On {choice.dataset}: take {title}."


def sure(choice: Choice) -> list[str]:
    """Return how sure that is."""
    digits, taken, reference = decimals(choice.metric), choice.taken, choice.reference
    part = "" if choice.slice == "all" else f"{choice.slice} "
    on = f"{counted(choice.queries, f'{part}test query', f'{part}test queries')}, {_seeds(taken)}"
    against = reference["title"] if reference else "the reference"
    told = []
    match choice.verdict:
        case Verdict.UNTRAINED:
            floor = choice.baselines[UNTRAINED]
            told.append(
                f"No method reaches the encoder that it starts from ({choice.metric} {floor:.{digits}f}; the best, "
                f"{choice.best['title']}, has {choice.mean(choice.best):.{digits}f}; {on}). More labelled queries or "
                "more steps may change that; negatives alone won't."
            )
        case Verdict.NOTHING:
            told.append(
                f"None differs from {against} ({on}; smallest p {chance(_smallest(choice.ranking))})."
                + (
                    f" A difference of {choice.detectable:.{digits}f} {choice.metric} or more would have been shown in "
                    "four of five repetitions, so what you may lose is probably less."
                    if not math.isnan(choice.detectable)
                    else ""
                )
            )
        case Verdict.AMONG if taken["row"] == choice.best["row"]:
            told.append(f"It has the highest mean, {choice.metric} {choice.mean(taken):.{digits}f} ({on}).")
        case Verdict.AMONG:
            told.append(
                f"It isn't told apart from {choice.best['title']}, which has the highest mean ({on})."
            )
        case _:
            told.append(
                f"{choice.metric} {choice.mean(taken):.{digits}f}, {taken['difference']:+.{digits}f} against {against} "
                f"(95 % interval {taken['difference/low']:+.{digits}f} to {taken['difference/high']:+.{digits}f}, p "
                f"{chance(taken['p'])}; {on}). The interval covers other queries and other seeds."
            )
    if choice.alike and choice.verdict != Verdict.UNTRAINED:
        titles = listed(first_of([row["title"] for row in choice.alike], NAMED))
        told.append(
            f"Not told apart from it: {titles}; it is taken as the cheapest of those that lead, or as the better at "
            "that price."
        )
    if (lexical := choice.baselines.get(LEXICAL)) is not None and lexical > choice.mean(choice.best):
        told.append(
            f"BM25 without any training reaches {lexical:.{digits}f}, more than every method here: search by words, or "
            "by both."
        )
    return [*told, f"It was tried on a table of token vectors. {TIERS['static'].trust}"]


def price(choice: Choice) -> str:
    """Return what the method costs, against the reference."""
    taken, reference = choice.taken, choice.reference
    told = f"{counted_seconds(seconds(taken))} a run here"
    if reference and reference["row"] != taken["row"]:
        times = seconds(taken) / seconds(reference)
        vectors = taken["vectors"] / reference["vectors"]
        told += (
            f", {times:.1f} times as long as {reference['title']}; it encodes {vectors:.1f} times as many texts, which "
            "is what counts with a transformer"
        )
    own = taken["own_seconds"] / taken["train_seconds"]
    searches = f", {taken['searches']:,.0f} searches" if taken["searches"] else ""
    return f"{told}; {own:.0%} of the time is its own choosing{searches}."


def false_ones(advice: Advice) -> list[str]:
    """Return what is known of false ones among the file's negatives."""
    row, audit = advice.choice.file_row, advice.audit
    if row is None:
        return []
    told = []
    if advice.hidden and not math.isnan(audit.get("false_negative_rate", math.nan)):
        told.append(
            f"{audit['false_negative_rate']:.1%} of the negatives of {row['title']} are relevant by the labels that "
            "were hidden from it."
        )
    known = [
        f"{audit[key]:.1%} {words}"
        for key, words in (
            ("labelled_positive_rate", "are labelled positives of their query"),
            ("text_duplicate_rate", "have the text of one"),
            ("own_text_rate", "are the query itself"),
            ("synonym_rate", "are synonyms of a positive"),
            ("ancestor_rate", "are above a positive in the hierarchy"),
            ("sibling_rate", "are siblings of a positive"),
        )
        if not math.isnan(audit.get(key, math.nan))
    ]
    told += [f"Of the negatives of {row['title']}, {listed(known)}."] if known else []
    if (found := advice.suspects) is not None:
        told.append(
            f"{found.above:,} of the {found.negatives:,} in the file ({found.share:.1%}) are still above the query's "
            "own positive for the model that was trained against them."
            + (" These are the ones to read first" if found.above else "")
            + (": the page shows the worst." if found.above and found.worst else "." if found.above else "")
        )
    if not advice.hidden:
        told.append(
            "How many are false is not known where labels are few. `hide:` of a dataset makes it known where queries "
            "have several positives (config/README.md, Known truth)."
        )
    return told


def file_words(advice: Advice) -> list[str]:
    """Return what the file of negatives is, and whose."""
    choice, row = advice.choice, advice.choice.file_row
    if row is None or not advice.files:
        return ["None of the methods compared chooses documents, so there is no file of negatives."]
    told = []
    if choice.verdict == Verdict.UNTRAINED:
        told.append(
            f"The file is no advice to train on it: it has the negatives of {row['title']}, which left the encoder "
            "worse than it was."
        )
    elif row["row"] != choice.taken["row"]:
        told.append(
            f"{choice.taken['title']} needs no file: train on your pairs with large batches. For a trainer that asks "
            f"for negatives the file has those of {row['title']}, which is the first that gives documents."
        )
    queries, count = advice.record["queries"], advice.record["lines"]
    without = queries["too_few_for_the_format"]
    told.append(
        f"{advice.files[0]}: {counted(count, 'line')}, {queries['seen']:,} of {queries['labelled']:,} training queries"
        + (f" ({without:,} of them left out, with too few negatives for this form)" if without else "")
        + ", most negatives a query: "
        + f"{advice.record['most_a_query']}."
    )
    return told


def settings_words(choice: Choice) -> str:
    """Return how the method was set."""
    params = json.loads(choice.taken["params"])
    given = [f"{name} {value}" for name, value in params.items() if value is not None]
    return f"{choice.taken['title']}: {', '.join(given) or 'it has none'}."


def table(choice: Choice) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of the table of methods, best first, baselines last."""
    digits, by = decimals(choice.metric), f"{choice.metric}/{choice.slice}"
    reference = choice.reference["title"] if choice.reference else "the reference"
    heads = ["", "method", choice.metric, f"against {reference}", "p", "group", "seconds"]
    lines = [_line(choice, row, by, digits) for row in choice.ranking]
    for name, mean in choice.baselines.items():
        lines.append(["", f"{BASELINES[name][0]} (not trained)", f"{mean:.{digits}f}", "", "", "", ""])
    return heads, lines


def _line(choice: Choice, row: Row, by: str, digits: int) -> list[str]:
    apart = row["difference"]
    interval = (
        f"{apart:+.{digits}f} ({row['difference/low']:+.{digits}f} to {row['difference/high']:+.{digits}f})"
        if not math.isnan(apart)
        else MISSING
    )
    groups = row["groups"] if isinstance(row["groups"], str) else ""
    is_advised = row["row"] == choice.taken["row"] and choice.verdict != Verdict.UNTRAINED
    return [
        "take" if is_advised else "",
        row["title"],
        number(row[f"{by}/mean"], row[f"{by}/low"], digits),
        interval,
        chance(row["p"]),
        groups,
        f"{seconds(row):.1f}",
    ]


def terminal(advices: Sequence[Advice], time_words: Sequence[str], page: Path) -> str:
    """Return the advice for the end of a run."""
    parts: list[str] = []
    for advice in advices:
        heads, lines = table(advice.choice)
        parts += [
            headline(advice.choice),
            tabulate(lines, heads, tablefmt="simple", disable_numparse=True),
            "\n".join(
                f"  {name}: {' '.join(sentences)}"
                for name, sentences in sections(advice).items()
                if sentences
            ),
        ]
    return "\n\n".join(["", *parts, *time_words, f"The page: {page.resolve().as_uri()}"]) + "\n"


def sections(advice: Advice) -> dict[str, list[str]]:
    """Return the sentences of an advice by what they are about."""
    return {
        "How sure": sure(advice.choice),
        "What it costs": [price(advice.choice)],
        "What may be false": false_ones(advice),
        "The file": file_words(advice),
        "Its settings": [settings_words(advice.choice)],
    }


def time_words(spent: float, minutes: float, planned: float, left_out: Sequence[str]) -> list[str]:
    """Return what the advice took, and what was left out for that."""
    took = f"Took {clock(spent)} of {clock(60 * minutes)} (planned: {clock(planned)})."
    more = " The smallest comparison takes longer than it was given." if planned > 60 * minutes else ""
    if not left_out:
        return [f"{took}{more} Nothing was left out."]
    return [
        f"{took}{more} Left out: {'; '.join(left_out)}. More time: `advise: {{minutes: {2 * minutes:g}}}`."
    ]


def counted_seconds(count: float) -> str:
    """Return seconds in words."""
    return f"{count:.1f} seconds" if count < 90 else clock(count)


def _seeds(row: Row) -> str:
    return counted(int(row["seeds"]), "seed")


def _smallest(rows: Sequence[Row]) -> float:
    found = [row["p"] for row in rows if not math.isnan(row["p"])]
    return min(found, default=math.nan)
