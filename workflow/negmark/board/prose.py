"""The sentences of a board, written from its numbers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from negmark.board.card_text import hidden_words
from negmark.board.findings import (
    COMPARED,
    GAIN,
    GAIN_STEPS,
    RATE,
    RISING,
    UNADJUSTED,
    alike,
    letters,
    tells_nothing,
)
from negmark.board.overview import AVERAGE, Overview
from negmark.board.standings import OTHER_BUDGET, datasets, ranked_by, ranking_slice, shown_slices, tiers
from negmark.compare.inference import RESOLUTION
from negmark.compare.rising import LEAST
from negmark.compare.statistics import CONFIDENCE
from negmark.compare.undertrained import Trained, undertrained
from negmark.core.metrics import DEFAULT, decimals
from negmark.core.names import REFERENCE, SLICES, STS, UNTRAINED, Row, records
from negmark.core.notation import DID_NOT_ACT, STILL_RISING, chance, counted, first_of, listed, marked, number
from negmark.core.tiers import TIERS
from negmark.store.failures import FailedRow
from negmark.store.run import FEWEST_UNSEEN, UNTUNED_TITLE

SURE = 1 - CONFIDENCE
NAMED = 4
UNKNOWN = 0.05
"""Share of unknown tokens above which the encoder is called one for other text."""
"""Methods that a sentence names; of the rest it gives only the number."""
READING = (
    "A value is the mean over seeds ± the half-width of its 95 % Student t interval, which shows what other seeds "
    "would give on the same queries. A difference is from the reference of the same track and budget, in the faithful "
    "track under the same loss (a dash: the suite has no such row); its interval and p-value account for other "
    "seeds and other queries: both are random in a two-way model of the differences, with generalised (fiducial) "
    "intervals, and queries that share a relevant document are one cluster. The interval is for that one comparison at "
    "95 %; the p-value is adjusted (Holm) for all methods compared with the reference. Methods that share a letter "
    "aren't distinguishable (Holm over all pairs). "
    "A test query is seen when a document relevant to it was a positive in training. Methods are ranked by {by} on "
    f"unseen queries if there are at least {FEWEST_UNSEEN}, otherwise on all. Baselines aren't trained here and have "
    "no rank. Rows of the faithful track are trained with their paper's own loss and towers and ranked among "
    "themselves. Seconds are the wall time of a run's training loop, with those of the "
    "rows whose models it starts from; own is the share of it spent inside the method: "
    "its choice of negatives, refreshes, own loss."
)
TESTED = (
    "The difference that a dataset would have shown (80 % power: in four of five repetitions) is computed from how its "
    "own runs vary, and is the quadratic mean over its methods. Where no method, controls aside, differs from the "
    "reference, the order of values tells nothing, so there are no ranks."
)
CURVES = (
    f"An arrow ({STILL_RISING}) marks a row that was still getting better on dev queries when its training ended: it "
    f"gained more than {LEAST:g} over the last fifth of its steps, with a one-sided 95 % interval over seeds above 0."
)
SENTENCES = (
    "A dataset of sentences is ranked by STS instead: Spearman's correlation x 100 between cosine similarity and "
    "human scores over all pairs of a task, averaged over tasks. "
    "It is one number per run, so how it varies over other pairs isn't known."
)
FALSE_NEGATIVES = (
    "Where a dataset hides training labels, false negatives are the share of the negatives given in training that are "
    "relevant by all labels, averaged over seeds; in-batch documents don't count. Where it hides documents related to "
    "a positive, these count as false though they are only near-relevant, and no answers in evaluation. Seen and "
    "unseen follow the labels visible in training."
)

UNTUNED = (
    "Rows are ranked and compared as tuned on the dev split, all by the same procedure; untuned ones stand below, "
    "with the settings that they would otherwise have and without a rank."
)


def version_sentence(suite: str, settings: Mapping[str, Any]) -> str:
    """Return the versions of the benchmark and of the suite that made a board, which its readers have to cite."""
    versions = settings.get("versions", {})
    parts = [
        f"{name} {versions[key]}"
        for name, key in (("negmark", "negmark"), (f"suite {suite}, version", "suite"))
        if key in versions
    ]
    return f"Made by {', '.join(parts)}." if parts else ""


def size_sentence(card: dict[str, Any], settings: dict[str, Any]) -> str:
    """The data, encoder and training budget of a board, without which none of its numbers means anything.

    `settings["budgets"]` may give each tier its own steps, batch_size and negatives; otherwise the top level has them.
    """
    seeds = settings["seeds"]
    budgets = settings.get("budgets") or {"": settings}
    mark = "," if len(budgets) == 1 else ";"
    home = settings.get("trained_on", {}).get(card["name"])
    zero_shot = f"; nothing is trained here: runs were trained on {home}" if home else ""
    trained = "; ".join(_budget(tier if len(budgets) > 1 else "", part) for tier, part in budgets.items())
    size = (
        f"{_data(card)}{zero_shot}; encoder {settings['encoder']}{mark} {trained}{mark} "
        f"{counted(seeds if isinstance(seeds, int) else len(seeds), 'seed')}."
    )
    return f"{size} {unknown}" if (unknown := unknown_sentence(card)) else size


def unknown_sentence(card: dict[str, Any]) -> str:
    """What the encoder can't read of a dataset, where that is more than a few tokens; cards of before don't say it."""
    shares = {side: length.get("unknown", 0.0) for side, length in card.get("lengths", {}).items()}
    found = [
        f"{100 * share:.0f} % of the {side}' tokens" for side, share in shares.items() if share > UNKNOWN
    ]
    if not found:
        return ""
    return (
        f"The tokenizer of {card['tokenizer']} doesn't know {listed(found)}: an encoder that was made for such text "
        "would read more of it."
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
    return f"{head}{steps} of {size}, {training['negatives']:,} negatives per query"


def captions(
    frame: pd.DataFrame,
    cards: Mapping[str, dict[str, Any]],
    settings: dict[str, Any],
    failed: Sequence[FailedRow] = (),
) -> dict[str, str]:
    """The captions of the tables in a paper, by dataset."""
    texts = {}
    for name, part in datasets(frame):
        size, start = size_sentence(cards[name], settings), start_sentence(part)
        without = failed_sentence([one for one in failed if one.dataset == name])
        found = [*warnings(part, settings), *below_table(part), without]
        text = f"{name}. {size} {start} Means over seeds ± half the 95 % interval over seeds."
        texts[name] = " ".join([text, *(one for one in found if one)])
    return texts


def failed_sentence(failed: Sequence[FailedRow]) -> str:
    """Which rows have no result, and why; empty if all have one."""
    if not failed:
        return ""
    several = len({one.tier for one in failed}) > 1
    reasons = [f"{marked(one.model_dump(), several)} ({one.status}: {one.reason})" for one in failed]
    return f"Without a result: {listed(reasons)}."


def overview_sentence(overview: Overview) -> str:
    """How to read the table of all datasets."""
    text = (
        f"{overview.by} on the queries that rank each dataset. The mean rank weights collections equally and doesn't "
        "show how far apart methods are; a row has none unless it is ranked wherever its track is."
    )
    if overview.uncounted:
        text += (
            f" {listed(overview.uncounted)} {'count' if len(overview.uncounted) > 1 else 'counts'} in no mean: of "
            "datasets with the same test queries one does, the strict one, else the first of the suite."
        )
    if any(column.group == AVERAGE for column in overview.columns):
        text += (
            " The mean is over the datasets that are trained on and searched, each collection once; its "
            "difference, p-value and letters treat these datasets as fixed and account for other seeds and other "
            "queries of them."
        )
    if overview.left_out:
        text += (
            f" Mean ranks leave out {listed(overview.left_out)}: no method differs from the reference there, which "
            "tells nothing about their order."
        )
    return text


def start_sentence(frame: pd.DataFrame) -> str:
    """What the runs of one dataset start from (stated once if all start alike) and the machines that trained them."""
    trained, names = frame[frame["tier"] != ""], tiers(frame)
    if not names:
        return ""
    machines = " and ".join(dict.fromkeys(trained["hardware"]))
    trained_on = f" They were trained on {machines}."
    if trained["start"].nunique() == 1:
        return (
            f"Runs of the {' and the '.join(names)} tier start from {trained['start'].iloc[0]}.{trained_on}"
        )
    return " ".join(_tier_start(tier, trained[trained["tier"] == tier]) for tier in names) + trained_on


def _tier_start(tier: str, rows: pd.DataFrame) -> str:
    (usual, _), *others = Counter(rows["start"]).most_common()
    exceptions = [
        f"those of {', '.join(marked(row) for row in records(rows[rows['start'] == start]))} from {start}"
        for start, _ in others
    ]
    return ", ".join([f"Runs of the {tier} tier start from {usual}", *exceptions]) + "."


def warnings(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """Warn of each tier that is undertrained, and of each whose ranking tells nothing: no method of it differs."""
    names = tiers(frame)
    rankings = {tier: first_track(frame, tier) for tier in names}
    undone = [
        f"Undertrained{f' in the {tier} tier' if len(names) > 1 else ''}: {text}. Their order says nothing about "
        "methods, and no claim is judged here."
        for tier, text in _undertrained(frame).items()
    ]
    return undone + [
        f"Tells nothing about these methods{f' in the {tier} tier' if len(names) > 1 else ''}: "
        f"{_no_difference(ranking, settings)}"
        for tier, ranking in rankings.items()
        if tells_nothing(ranking)
    ]


def _undertrained(frame: pd.DataFrame) -> dict[str, str]:
    """Return what `negmark.compare.undertrained` finds in the rows of one dataset."""
    metric = ranked_by(frame)
    by = f"{metric}/{ranking_slice(frame)}/mean"
    trained, baselines = (frame[(frame["track"] == "baseline") == kind] for kind in (False, True))
    rows = [Trained(row["row"], row["tier"], row["before"], row[by]) for row in records(trained)]
    return undertrained(rows, dict(zip(baselines["row"], baselines[by], strict=True)), metric)


def _no_difference(ranking: pd.DataFrame, settings: dict[str, Any]) -> str:
    reference = reference_row(ranking, settings.get("reference", REFERENCE))
    against = reference["title"] if reference else "the reference"
    smallest = ranking.loc[ranking[COMPARED], "p"].min()
    return (
        f"none differs from {against} (smallest p {chance(smallest)}). A difference below {_detectable(ranking)} would "
        "have been missed more often than one time in five (80 % power)."
    )


def _detectable(ranking: pd.DataFrame) -> str:
    """The smallest difference that a ranking would have shown; empty without a test.

    The quadratic mean over its methods: variances of few seeds are skewed, and by their median a board would claim more
    power than it has.
    """
    if COMPARED not in ranking:
        return ""
    least = (ranking.loc[ranking[COMPARED], "detectable"] ** 2).mean() ** 0.5
    return "" if math.isnan(least) else f"{least:.{decimals(ranked_by(ranking))}f}"


def _power(ranking: pd.DataFrame) -> list[str]:
    least = _detectable(ranking)
    return [f"Differences of {least} or more would have been shown (80 % power)."] if least else []


def first_track(frame: pd.DataFrame, tier: str) -> pd.DataFrame:
    """The first ranking of a tier: each track is one of its own."""
    rows = frame[frame["tier"] == tier]
    rows = (
        rows[rows["rank"].notna()] if rows["rank"].notna().any() else rows
    )  # untuned ones are of no ranking
    return rows[rows["track"] == rows["track"].iloc[0]]


def rising_sentence(frame: pd.DataFrame) -> str:
    """Which rows' dev metric still rose when training ended, and by how much; empty if none did or none has a curve."""
    rising = records(frame[frame[RISING].eq(True)]) if RISING in frame else []
    if not rising:
        return ""
    several, digits = len(tiers(frame)) > 1, decimals(ranked_by(frame))
    by_steps: dict[int, list[str]] = {}
    for row in rising:
        by_steps.setdefault(row[GAIN_STEPS], []).append(f"{marked(row, several)} {row[GAIN]:+.{digits}f}")
    gains = [f"{listed(rows)} over the last {steps:,} steps" for steps, rows in by_steps.items()]
    return f"{STILL_RISING} Dev still rose: {'; '.join(gains)}. More steps may change the order."


def idle_sentence(frame: pd.DataFrame) -> str:
    """Which rows' own rule never acted, and why; empty if every one's did."""
    idle = records(frame[frame["idle"] != ""])
    if not idle:
        return ""
    several = len(tiers(frame)) > 1
    reasons = "; ".join(f"{marked(row, several)} ({row['idle']})" for row in idle)
    return (
        f"{DID_NOT_ACT} Did not act: {reasons}. What such a row shows is not its method, so it has no rank."
    )


def budget_sentence(frame: pd.DataFrame) -> str:
    """Which rows had another budget than those that are ranked; empty if none had."""
    others = records(frame[frame[OTHER_BUDGET]])
    if not others:
        return ""
    several = len(tiers(frame)) > 1
    named = listed([marked(row, several) for row in others])
    return f"Of another budget than the others, so unranked and in no group: {named}."


def below_table(frame: pd.DataFrame) -> list[str]:
    """What the signs in the table of one dataset mean, those that are there."""
    return [
        sentence
        for sentence in (rising_sentence(frame), idle_sentence(frame), budget_sentence(frame))
        if sentence
    ]


def sentences(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """What the rows of one dataset show: which method is first, by how much, and what "all" hides.

    Each tier has its own sentences. A difference is called one only if it would hold with other seeds and other
    queries (`negmark.compare.inference`). Last is what `settings["known_truth"]` has for the dataset.
    """
    names = tiers(frame)
    if not names:
        return ["No trained method is on this board."]
    known = settings.get("known_truth", {}).get(frame["dataset"].iloc[0], [])
    return [
        *(
            sentence
            for tier in names
            for sentence in _tier_sentences(
                frame, tier, f"In the {tier} tier, " if len(names) > 1 else "", settings
            )
        ),
        *known,
    ]


def _tier_sentences(frame: pd.DataFrame, tier: str, prefix: str, settings: dict[str, Any]) -> list[str]:
    rows, ranking = frame[frame["tier"] == tier], first_track(frame, tier)
    baselines = {row["row"]: row for row in records(frame[frame["track"] == "baseline"])}
    reference = reference_row(rows, settings.get("reference", REFERENCE))
    if tells_nothing(ranking):  # so none of its rows is called the first
        said = _hidden(reference, ranking, baselines.get(UNTRAINED)) if reference else []
        return [prefix + sentence for sentence in said]
    best = records(ranking)[0]
    winner = prefix + _winner(best, reference, baselines.get(UNTRAINED), frame)
    told = [
        " ".join([winner, *_peers(best, ranking), *_price(best, reference)]),
        " ".join([*_tally(ranking, reference), *_power(ranking)]),
        *_hidden(best, ranking, baselines.get(UNTRAINED)),
    ]
    return [sentence for sentence in told if sentence]


def reference_row(rows: pd.DataFrame, name: str) -> Row | None:
    """The reference of a tier: the row of that name, otherwise the best row of that method."""
    named = [*records(rows[rows["row"] == name]), *records(rows[rows["method"] == name])]
    return named[0] if named else None


def _winner(best: Row, reference: Row | None, untrained: Row | None, frame: pd.DataFrame) -> str:
    metric, ranking = ranked_by(frame), ranking_slice(frame)
    by, digits = f"{metric}/{ranking}/mean", decimals(metric)
    gains = [
        f"{best[by] - row[by]:+.{digits}f}{_certainty(best, row, digits)} against {row['title']} ({row[by]:.{digits}f})"
        for row in (reference, untrained)
        if row is not None and row["row"] != best["row"]
    ]
    value = number(best[by], best[f"{metric}/{ranking}/low"], digits)
    on = _queries(best, ranking) if metric != STS else counted(best["test_queries/all"], "STS pair")
    head = f"{best['title']} is first on the {on} with {metric} {value}"
    text = head + (f": {' and '.join(gains)}." if gains else ".")
    if above := unreached(best, frame):
        text += f" No method of this ranking reaches {listed(above, 'or')}."
    return text


def unreached(best: Row, frame: pd.DataFrame) -> list[str]:
    """The baselines that are better than the best row of a ranking, as `title (value)`, best first."""
    metric = ranked_by(frame)
    by = f"{metric}/{ranking_slice(frame)}/mean"
    above = frame[(frame["track"] == "baseline") & (frame[by] > best[by])].sort_values(by, ascending=False)
    return [f"{row['title']} ({row[by]:.{decimals(metric)}f})" for row in records(above)]


def _certainty(row: Row, reference: Row, digits: int) -> str:
    """The interval and p-value of a row's difference from its reference; empty for other rows or without them."""
    if row.get("reference") != reference["row"] or math.isnan(row["p"]):
        return ""
    text = (
        f"{row['difference/low']:+.{digits}f} to {row['difference/high']:+.{digits}f}, "
        f"p {chance(row['p'], bound=row[UNADJUSTED] < RESOLUTION)}"
    )
    return f" ({text})" if row["p"] < SURE else f" ({text}: no difference shown)"


def _peers(best: Row, ranking: pd.DataFrame) -> list[str]:
    """Which methods of its ranking the first isn't distinguishable from."""
    if not letters(best.get("groups")):
        return []
    peers = alike(ranking)
    if not peers:
        return ["It is distinguishable from every other method."]
    if len(peers) == len(ranking) - 1:
        return ["It isn't distinguishable from any other method."]
    return [f"It isn't distinguishable from {listed(first_of(peers, NAMED))}."]


def _price(best: Row, reference: Row | None) -> list[str]:
    """How long the first method trains compared with the reference."""
    if reference is None or reference["row"] == best["row"]:
        return []
    times = best["train_seconds"] / reference["train_seconds"] if reference["train_seconds"] else math.nan
    if math.isnan(times):
        return []
    ratio = f"{times:.1f} times as long as" if f"{times:.1f}" != "1.0" else "as long as"
    return [f"Its runs take {ratio} those of {reference['title']}."]


def _tally(ranking: pd.DataFrame, reference: Row | None) -> list[str]:
    """How many methods of a ranking are better or worse than the reference, and how many show no difference."""
    if reference is None or "p" not in ranking:
        return []
    tested = ranking[ranking["p"].notna()]
    if len(tested) < 2:
        return []
    sure = tested[tested["p"] < SURE]
    better, worse = (sure["difference"] > 0).sum(), (sure["difference"] < 0).sum()
    none = len(tested) - len(sure)
    rest = f"; for {none}, no difference is shown" if none else ""
    return [
        f"Of {len(tested)} methods compared with {reference['title']}, {better} {_are(better)} better and {worse} "
        f"{_are(worse)} worse{rest}."
    ]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _hidden(row: Row, trained: pd.DataFrame, untrained: Row | None) -> list[str]:
    """What the mean over all queries would hide of a row, if some queries are seen and some are not."""
    if len(shown_slices(trained)) == 1:
        return []
    texts, by = [], ranked_by(trained)
    if untrained is not None:
        gain = {name: row[(key := f"{by}/{name}/mean")] - untrained[key] for name in SLICES}
        texts.append(
            f"{row['title']} differs from {untrained['title']} by {gain['seen']:+.3f} on the "
            f"{_queries(row, 'seen')} and {gain['unseen']:+.3f} on the unseen ones; the mean over all queries "
            f"({gain['all']:+.3f}) mixes the two."
        )
    other = max(records(trained), key=lambda one: one[f"{by}/all/mean"])
    if other["row"] != row["row"] and not tells_nothing(trained):
        texts.append(f"Ranked by all queries, {other['title']} would be first.")
    return texts


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
    """How to read the board."""
    by = [ranked_by(part) for _, part in datasets(frame)]
    first = next((metric for metric in by if metric != STS), DEFAULT[0])
    notes = [SENTENCES] if STS in by else []
    notes += [TESTED] if COMPARED in frame and frame[COMPARED].any() else []
    notes += [CURVES] if RISING in frame else []
    notes += [FALSE_NEGATIVES] if RATE in frame else []
    notes += [UNTUNED] if frame["title"].str.endswith(UNTUNED_TITLE).any() else []
    return " ".join([READING.format(by=first), *notes])


def tiers_told(frame: pd.DataFrame) -> str:
    """What each of the board's tiers trains, and what it may be trusted for."""
    names = tiers(frame)
    told = [
        f"In the {tier} tier, {TIERS[tier].says}. {TIERS[tier].trust}".rstrip()
        for tier in names
        if tier in TIERS
    ]
    return " ".join([*told, *(["Tiers are ranked separately."] if len(names) > 1 else [])])
