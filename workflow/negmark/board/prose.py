"""What a board says in plain words, made from its numbers."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from negmark.board.card_text import hidden_words
from negmark.board.findings import RATE
from negmark.board.overview import AVERAGE, Overview
from negmark.board.standings import datasets, ranked_by, ranking_slice, shown_slices, tiers
from negmark.compare.statistics import CONFIDENCE
from negmark.core.metrics import DEFAULT, decimals
from negmark.core.names import REFERENCE, SLICES, STS, UNTRAINED, Row, records
from negmark.core.notation import chance, counted, listed, marked, number
from negmark.core.tiers import TIERS
from negmark.store.failures import FailedRow
from negmark.store.run import FEWEST_UNSEEN

SURE = 1 - CONFIDENCE
NAMED = 4
"""Methods that a sentence names; of more it gives the number."""
READING = (
    "A value is the mean over seeds ± the half-width of its 95 % Student t interval, which tells what other seeds "
    "would do on the same queries. A difference is that from the reference, and its interval and p-value see other "
    "seeds and other queries: the interval is of the one comparison at 95 %, the p-value is adjusted (Holm) for all "
    "methods held against the reference. Methods with a letter in common can't be told apart (Holm over all pairs). "
    "A test query is seen when a document relevant to it was a positive in training. Methods are ranked by {by} on "
    f"unseen queries where there are at least {FEWEST_UNSEEN}, else on all. Baselines aren't trained here and have no "
    "rank. Rows of the faithful track train with their paper's own loss and towers and are ranked among themselves. "
    "Seconds are wall time of a run's training loop; own is the share of it inside the method: its choice of "
    "negatives, refreshes, own loss."
)
SENTENCES = (
    "A dataset of sentences is ranked by STS instead: Spearman's correlation x 100 between cosine similarity and "
    "people's scores over all pairs of a task, the mean over tasks. "
    "It is one number a run, so nothing says what other pairs would do."
)
FALSE_NEGATIVES = (
    "Where a dataset hides training labels, false negatives are the share of the negatives given in training that are "
    "relevant by all labels, the mean over seeds; documents of the batch don't count. Seen and unseen go by the labels "
    "that training sees."
)


def version_sentence(suite: str, settings: Mapping[str, Any]) -> str:
    """Return which benchmark and which suite made a board, as a reader of it has to cite them."""
    versions = settings.get("versions", {})
    parts = [
        f"{name} {versions[key]}"
        for name, key in (("negmark", "negmark"), (f"suite {suite}, version", "suite"))
        if key in versions
    ]
    return f"Made by {', '.join(parts)}." if parts else ""


def size_sentence(card: dict[str, Any], settings: dict[str, Any]) -> str:
    """How much was trained and tested on what: no number on a board means anything without it.

    `settings["budgets"]` may give each tier its own steps, batch_size and negatives; else the top level has them.
    """
    seeds = settings["seeds"]
    budgets = settings.get("budgets") or {"": settings}
    mark = "," if len(budgets) == 1 else ";"
    home = settings.get("trained_on", {}).get(card["name"])
    zero_shot = f"; nothing is trained here: runs were trained on {home}" if home else ""
    trained = "; ".join(_budget(tier if len(budgets) > 1 else "", part) for tier, part in budgets.items())
    return (
        f"{_data(card)}{zero_shot}; encoder {settings['encoder']}{mark} {trained}{mark} "
        f"{counted(seeds if isinstance(seeds, int) else len(seeds), 'seed')}."
    )


def _data(card: dict[str, Any]) -> str:
    if card.get("kind") == "sentences" and not card["documents"]:
        return "STS pairs: " + ", ".join(f"{task} {count:,}" for task, count in card["sts"].items())
    if card.get("kind") == "sentences":
        tasks = ", ".join(f"{task} {count:,}" for task, count in card["sts"].items())
        return (
            f"{card['documents']:,} of {card['documents_full']:,} sentences without labels "
            f"({card['duplicates']:,} duplicates and {card['blank_lines']:,} blank lines left out); STS pairs: {tasks}"
        )
    queries = card["queries"]
    if card["regime"] == "zero-shot":
        return f"{_documents(card)}; {queries['test']:,} test queries"
    return (
        f"{_documents(card)}; {queries.get('train', 0):,} training and {queries['test']:,} test queries "
        f"({card['seen_test_queries']:,} seen, {card['unseen_test_queries']:,} unseen), {card['regime']} regime"
        f"{hidden_words(card)}"
    )


def _budget(tier: str, training: Mapping[str, Any]) -> str:
    head = f"{tier} tier: " if tier else ""
    steps, size = f"{training['steps']:,} steps", f"{training['batch_size']:,} queries"
    return f"{head}{steps} of {size}, {training['negatives']:,} negatives a query"


def captions(
    frame: pd.DataFrame,
    cards: Mapping[str, dict[str, Any]],
    settings: dict[str, Any],
    failed: Sequence[FailedRow] = (),
) -> dict[str, str]:
    """What stands below the table of each dataset in a paper, by its name."""
    said = {}
    for name, part in datasets(frame):
        size, start = size_sentence(cards[name], settings), start_sentence(part)
        lost = failed_sentence([one for one in failed if one.dataset == name])
        text = f"{name}. {size} {start} Means over seeds ± half the 95 % interval over seeds. {lost}"
        said[name] = text.rstrip()
    return said


def failed_sentence(failed: Sequence[FailedRow]) -> str:
    """Which rows have no result and why; empty where all have one."""
    if not failed:
        return ""
    several = len({one.tier for one in failed}) > 1
    told = [f"{marked(one.model_dump(), several)} ({one.status}: {one.reason})" for one in failed]
    return f"Without a result: {listed(told)}."


def overview_sentence(overview: Overview) -> str:
    """How to read the table of all datasets."""
    said = f"{overview.by} on the queries that rank each dataset. The mean rank counts datasets alike and says nothing "
    said += "of how far methods are apart."
    if any(column.group == AVERAGE for column in overview.columns):
        said += (
            " The mean is over the datasets that are trained on and searched, each collection once (by its strict "
            "regime where there is one); its difference, p-value and letters take these datasets as fixed and say what "
            "other seeds and other queries of them would do."
        )
    return said


def start_sentence(frame: pd.DataFrame) -> str:
    """What the runs of one dataset start from, said once where all start alike, and what they were trained on."""
    trained, names = frame[frame["tier"] != ""], tiers(frame)
    if not names:
        return ""
    machines = " and ".join(dict.fromkeys(trained["hardware"]))
    ran = f" They were trained on {machines}."
    if trained["start"].nunique() == 1:
        return f"Runs of the {' and the '.join(names)} tier start from {trained['start'].iloc[0]}.{ran}"
    return " ".join(_tier_start(tier, trained[trained["tier"] == tier]) for tier in names) + ran


def _tier_start(tier: str, rows: pd.DataFrame) -> str:
    (usual, _), *others = Counter(rows["start"]).most_common()
    apart = [
        f"those of {', '.join(marked(row) for row in records(rows[rows['start'] == start]))} from {start}"
        for start, _ in others
    ]
    return ", ".join([f"Runs of the {tier} tier start from {usual}", *apart]) + "."


def sentences(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """What the rows of one dataset say in plain words: who is first, by how much, and what "all" hides.

    Each tier is told by itself. A difference is called one where it would hold with other seeds and other queries
    (`negmark.compare.inference`).
    """
    names = tiers(frame)
    if not names:
        return ["No trained method is on this board."]
    return [
        said
        for tier in names
        for said in _of_tier(frame, tier, f"In the {tier} tier, " if len(names) > 1 else "", settings)
    ]


def _of_tier(frame: pd.DataFrame, tier: str, place: str, settings: dict[str, Any]) -> list[str]:
    mine = frame[frame["tier"] == tier]
    first_track = mine[mine["track"] == mine["track"].iloc[0]]  # the tracks are two rankings
    baselines = {row["row"]: row for row in records(frame[frame["track"] == "baseline"])}
    reference = reference_row(mine, settings.get("reference", REFERENCE))
    best = records(first_track)[0]
    winner = place + _winner(best, reference, baselines.get(UNTRAINED), frame)
    return [
        " ".join([winner, *_peers(best, first_track), *_price(best, reference)]),
        *_tally(first_track, reference),
        *_hidden(first_track, baselines.get(UNTRAINED)),
    ]


def reference_row(rows: pd.DataFrame, name: str) -> Row | None:
    """The row of a tier that a gain is told against: the one of that name, else the best of that method."""
    named = [*records(rows[rows["row"] == name]), *records(rows[rows["method"] == name])]
    return named[0] if named else None


def _winner(best: Row, reference: Row | None, untrained: Row | None, frame: pd.DataFrame) -> str:
    metric, ranking = ranked_by(frame), ranking_slice(frame)
    by, digits = f"{metric}/{ranking}/mean", decimals(metric)
    gains = [
        f"{best[by] - row[by]:+.{digits}f}{_surely(best, row, digits)} against {row['title']} ({row[by]:.{digits}f})"
        for row in (reference, untrained)
        if row is not None and row["row"] != best["row"]
    ]
    value = number(best[by], best[f"{metric}/{ranking}/low"], digits)
    on = _queries(best, ranking) if metric != STS else counted(best["test_queries/all"], "STS pair")
    head = f"{best['title']} is first on the {on} with {metric} {value}"
    told = head + (f": {' and '.join(gains)}." if gains else ".")
    if untrained is not None and best[by] < untrained[by]:
        told += f" So no method of this ranking reaches {untrained['title']}."
    return told


def _surely(row: Row, reference: Row, digits: int) -> str:
    """The interval and p-value of a row's difference from its reference; nothing of another row or without them."""
    if row.get("reference") != reference["row"] or math.isnan(row["p"]):
        return ""
    found = (
        f"{row['difference/low']:+.{digits}f} to {row['difference/high']:+.{digits}f}, p {chance(row['p'])}"
    )
    return f" ({found})" if row["p"] < SURE else f" ({found}: no difference shown)"


def _peers(best: Row, ranking: pd.DataFrame) -> list[str]:
    """Which methods of its ranking the first can't be told from."""
    if not (mine := set(_letters(best))):
        return []
    others = [row for row in records(ranking) if row["row"] != best["row"]]
    alike = [row["title"] for row in others if mine & set(_letters(row))]
    if not alike:
        return ["It is told apart from every other method."]
    if len(alike) == len(others):
        return ["It can't be told from any other method."]
    shown = alike if len(alike) <= NAMED else [*alike[: NAMED - 1], f"{len(alike) - NAMED + 1} more"]
    return [f"It can't be told from {listed(shown)}."]


def _letters(row: Row) -> list[str]:
    return re.findall(r"[a-z]\d*", row.get("groups") or "")


def _price(best: Row, reference: Row | None) -> list[str]:
    """What the first costs beside the reference."""
    if reference is None or reference["row"] == best["row"]:
        return []
    times = best["train_seconds"] / reference["train_seconds"] if reference["train_seconds"] else math.nan
    if math.isnan(times):
        return []
    much = f"{times:.1f} times as long as" if f"{times:.1f}" != "1.0" else "as long as"
    return [f"Its runs take {much} those of {reference['title']}."]


def _tally(ranking: pd.DataFrame, reference: Row | None) -> list[str]:
    """How many methods of a ranking are better than the reference, how many worse, and of how many neither is shown."""
    if reference is None or "p" not in ranking:
        return []
    tested = ranking[ranking["p"].notna()]
    if len(tested) < 2:
        return []
    sure = tested[tested["p"] < SURE]
    better, worse = (sure["difference"] > 0).sum(), (sure["difference"] < 0).sum()
    none = len(tested) - len(sure)
    rest = f"; of {none} no difference is shown" if none else ""
    return [
        f"Of {len(tested)} methods held against {reference['title']}, {better} {_are(better)} better and {worse} "
        f"{_are(worse)} worse{rest}."
    ]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _hidden(trained: pd.DataFrame, untrained: Row | None) -> list[str]:
    """What the mean over all queries would have hidden, where some queries are seen and some are not."""
    if len(shown_slices(trained)) == 1:
        return []
    best, said, by = records(trained)[0], [], ranked_by(trained)
    if untrained is not None:
        gain = {name: best[(key := f"{by}/{name}/mean")] - untrained[key] for name in SLICES}
        said.append(
            f"Against {untrained['title']} it is at {gain['seen']:+.3f} on the {_queries(best, 'seen')} and "
            f"{gain['unseen']:+.3f} on the unseen ones; all queries together ({gain['all']:+.3f}) mix the two."
        )
    other = max(records(trained), key=lambda row: row[f"{by}/all/mean"])
    if other["row"] != best["row"]:
        said.append(f"Ranked by all queries, {other['title']} would be first.")
    return said


def _queries(row: Row, name: str) -> str:
    kind = "test" if name == "all" else name
    return counted(row[f"test_queries/{name}"], f"{kind} query", f"{kind} queries")


def _documents(card: dict[str, Any]) -> str:
    if card["documents"] == card["documents_full"]:
        return counted(card["documents"], "document")
    return (
        f"{card['documents']:,} of {card['documents_full']:,} documents "
        "(a sub-collection: its values can't be compared with published ones)"
    )


def reading(frame: pd.DataFrame) -> str:
    """How to read the board, and what is trained in each of its tiers."""
    names, by = tiers(frame), [ranked_by(part) for _, part in datasets(frame)]
    first = next((metric for metric in by if metric != STS), DEFAULT[0])
    told = [SENTENCES] if STS in by else []
    told += [FALSE_NEGATIVES] if RATE in frame else []
    told += [f"In the {tier} tier, {TIERS[tier].says}." for tier in names if tier in TIERS]
    return " ".join(
        [READING.format(by=first), *told, *(["Tiers are ranked apart."] if len(names) > 1 else [])]
    )
