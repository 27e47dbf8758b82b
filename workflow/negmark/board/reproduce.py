"""Stage reproduce: compare a rebuilt board with the committed one, row by row.

A row is identified by dataset, method, tier and track. Compared are the means over seeds of every metric on every
slice, and the counts of test queries; intervals follow from the same runs, and costs depend on the machine.

- `same`: every value has the digits of the committed table;
- `within tolerance`: every count is the same, and no mean is further from the committed one than the tolerance that
  the committed manifest gives for its metric;
- `differs`: anything else, such as a row or value that only one of the two boards has.

The rule is the same for every row: it isn't widened where seeds vary much, as the seeds are the same. For a row that
isn't the same, the reason lists what differs for it between the two manifests: data, encoder, code, versions,
hardware. If nothing differs, the row should have been the same, and the reason says so.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from tabulate import tabulate
from typer import Option

from negmark.board.manifest import TABLE, means
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import sha256_file, write_text
from negmark.core.names import SLICES
from negmark.core.spreadsheet import csv, read_table
from negmark.store.board import read_board
from negmark.store.failures import OK
from negmark.suite.paths import MANIFEST

KEYS = ("dataset", "row", "tier", "track")
SAME, WITHIN, DIFFERS = "same", "within tolerance", "differs"
ONLY_COMMITTED, ONLY_REBUILT = "row is missing in the rebuilt board", "row is not on the committed board"
UNEXPLAINED = "none found: data, encoder, code, versions and hardware are the same"
EDITED = "the committed table was changed after its manifest was written"
NOWHERE = "—"
SLACK = 1e-9
"""Fraction of a tolerance that is added to it: 0.505 - 0.5 is a little more than 0.005 in binary."""

Reasons = dict[str, list[str]]
"""What differs between two manifests, as lines of text by kind."""


def compare(
    committed: pd.DataFrame, rebuilt: pd.DataFrame, manifests: tuple[dict[str, Any], dict[str, Any]]
) -> pd.DataFrame:
    """Return a row for each row of either board: `KEYS`, verdict, largest difference, where, tolerance, reason.

    The difference shown is the one that uses up most of its tolerance; it is rebuilt minus committed.
    """
    tolerances = manifests[0]["tolerances"]
    ours, theirs = (frame.set_index(list(KEYS)) for frame in (committed, rebuilt))
    rows = [
        {
            **dict(zip(KEYS, key, strict=True)),
            **_judged(ours, theirs, key, tolerances),
        }
        for key in [*ours.index, *theirs.index.difference(ours.index, sort=False)]
    ]
    for row in rows:
        reasons = differences(row["dataset"], row["row"], *manifests)
        row.setdefault("reason", "" if row["verdict"] == SAME else ", ".join(reasons) or UNEXPLAINED)
    return pd.DataFrame(rows)


def differences(dataset: str, row: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Reasons:
    """Return what differs between two manifests for a row of the board."""
    place = f"{dataset}/{row}"
    names = {dataset, ours["suite"]["datasets"].get(dataset, {}).get("trained_on") or dataset}
    environments = [_environment(manifest, place) for manifest in (ours, theirs)]
    reasons = {
        "data": [
            line
            for name in sorted(names)
            for line in _changed(f"{name} ", ours["datasets"].get(name, {}), theirs["datasets"].get(name, {}))
        ],
        "encoder": [
            line
            for name in sorted(ours["encoders"].keys() | theirs["encoders"])
            for line in _changed(f"{name} ", ours["encoders"].get(name, {}), theirs["encoders"].get(name, {}))
        ],
        "code": _changed(
            "source files of ", *({place: _row(one, place).get("code")} for one in (ours, theirs))
        ),
        "version": _changed("", *({**one["packages"], "python": one["python"]} for one in environments)),
        "hardware": _changed("", *(one["hardware"] for one in environments)),
    }
    return {kind: lines for kind, lines in reasons.items() if lines}


def table(judged: pd.DataFrame) -> str:
    """Return the comparison as text, a line per row of the board."""
    shown = judged.assign(
        difference=[_signed(value) for value in judged["difference"]],
        tolerance=[f"{value:g}" if pd.notna(value) else NOWHERE for value in judged["tolerance"]],
    )
    return tabulate(shown.to_dict("list"), headers="keys", tablefmt="simple", disable_numparse=True)


def explained(judged: pd.DataFrame, manifests: tuple[dict[str, Any], dict[str, Any]]) -> list[str]:
    """Return a line for everything that differs between the manifests, whether it changed a row or not."""
    lines: dict[str, None] = {}
    for dataset, method in zip(judged["dataset"], judged["row"], strict=True):
        for kind, changes in differences(dataset, method, *manifests).items():
            lines.update(dict.fromkeys(f"{kind}: {change}" for change in changes))
    commits = [sorted({one["code"] for one in manifest["environments"]}) for manifest in manifests]
    if commits[0] != commits[1]:
        texts = [" and ".join(part) for part in commits]
        lines[
            f"commit: {texts[0]} when committed, {texts[1]} now (only changes listed under code affect a row)"
        ] = None
    return list(lines)


def main(
    committed: Annotated[Path, Option(help="folder of the committed board")],
    rebuilt: Annotated[Path, Option(help="folder of the rebuilt board")],
) -> None:
    """Compare a rebuilt board with the committed one; the exit code shows whether every row was reproduced."""
    manifests = read_board(committed / MANIFEST), read_board(rebuilt / MANIFEST)
    judged = compare(_read(committed / TABLE), _read(rebuilt / TABLE), manifests)
    lines = explained(judged, manifests)
    if sha256_file(committed / TABLE) != manifests[0]["table"]:
        lines.insert(0, EDITED)
        judged["reason"] = judged["reason"].replace(UNEXPLAINED, EDITED)
    counts = ", ".join(f"{(judged['verdict'] == word).sum()} {word}" for word in (SAME, WITHIN, DIFFERS))
    total = f"{committed}: {len(judged)} rows: {counts}"
    between = "\n".join(f"- {line}" for line in lines) or "- nothing"
    text = f"{table(judged)}\n\nDifferences between the two manifests:\n{between}\n\n{total}\n"
    write_text(rebuilt / "comparison.csv", csv(judged))
    write_text(rebuilt / "comparison.txt", text)
    print(f"\n{text}", file=sys.stderr, flush=True)
    if failing := judged.loc[judged["verdict"] == DIFFERS, "row"].tolist():
        raise UserError(
            f"reproduce: {len(failing)} of {len(judged)} rows differ ({', '.join(dict.fromkeys(failing))}); "
            f"{rebuilt / 'comparison.txt'} says by how much and what differs between the manifests"
        )


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; run the suite, or restore the committed board")
    frame = read_table(path)
    if lacking := [key for key in KEYS if key not in frame]:
        raise UserError(f"{path}: lacks the column {lacking[0]}, as boards of an older format do; rebuild it")
    results = frame[frame["status"] == OK] if "status" in frame else frame  # failed rows have no values
    return results.fillna(dict.fromkeys(KEYS, ""))


def _judged(
    ours: pd.DataFrame, theirs: pd.DataFrame, key: Any, tolerances: Mapping[str, float]
) -> dict[str, Any]:
    if key not in ours.index or key not in theirs.index:
        reason = ONLY_COMMITTED if key in ours.index else ONLY_REBUILT
        return {
            "verdict": DIFFERS,
            "difference": float("nan"),
            "in": NOWHERE,
            "tolerance": None,
            "reason": reason,
        }
    one, other = ours.loc[key], theirs.loc[key]
    allowed = {f"test_queries/{name}": 0.0 for name in SLICES}
    for metric, slice_ in means(ours.columns.union(theirs.columns, sort=False)):
        allowed[f"{metric}/{slice_}/mean"] = tolerances.get(metric, 0.0)
    gaps = {name: _difference(one.get(name), other.get(name)) for name in allowed}
    worst = max(gaps, key=lambda name: _used(gaps[name], allowed[name]))
    used = _used(gaps[worst], allowed[worst])
    verdict = DIFFERS if used > 1 + SLACK else WITHIN if used else SAME
    return {
        "verdict": verdict,
        "difference": gaps[worst],
        "in": NOWHERE if verdict == SAME else worst.removesuffix("/mean"),
        "tolerance": allowed[worst] if verdict != SAME else None,
    }


def _difference(committed: Any, rebuilt: Any) -> float:
    """Return rebuilt minus committed; infinite if only one of them is a number."""
    missing = [pd.isna(value) for value in (committed, rebuilt)]
    if any(missing):
        return 0.0 if all(missing) else float("inf")
    return float(rebuilt) - float(committed)


def _used(difference: float, allowed: float) -> float:
    """Return how much of its tolerance a difference uses up: over 1 is too much."""
    if difference == 0:
        return 0.0
    return abs(difference) / allowed if allowed else float("inf")


def _signed(value: float) -> str:
    return NOWHERE if pd.isna(value) else "0" if value == 0 else f"{value:+.2g}"


def _row(manifest: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    return manifest["rows"].get(place, {})


def _environment(manifest: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the environment of a row's runs; values that differ between its seeds are joined."""
    places = _row(manifest, place).get("environments", [])
    parts = [manifest["environments"][number] for number in places]
    return {
        "packages": _joined(one["packages"] for one in parts),
        "python": " and ".join(sorted({one["python"] for one in parts})),
        "hardware": _joined(one["hardware"] for one in parts),
    }


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    values: dict[str, dict[str, None]] = {}
    for part in parts:
        for name, value in part.items():
            values.setdefault(name, {})[_word(value)] = None
    return {name: " and ".join(sorted(words)) for name, words in values.items()}


def _word(value: Any) -> str:
    return (" + ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _changed(what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}{name} {_short(ours.get(name))} when committed, {_short(theirs.get(name))} now"
        for name in sorted(ours.keys() | theirs)
        if ours.get(name) != theirs.get(name)
    ]


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text[:12] if len(text) == 64 else text  # a SHA-256


if __name__ == "__main__":
    stage.command(main)
