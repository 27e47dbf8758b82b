"""Stage reproduce: hold a rebuilt board against the committed one, row by row.

A row is known by its dataset, method, tier and track. What is compared are the means over seeds of every metric on
every slice, and the counts of test queries; intervals follow from the same runs, and costs are another machine's.

- `same`: every value has the digits of the committed table;
- `within tolerance`: every count is the same, and no mean lies further from the committed one than the tolerance that
  the committed manifest states for its metric;
- `differs`: anything else, as a row or a value that only one of the two boards has.

The rule is the same for every row: it doesn't widen where seeds vary much, as the seeds are the same ones. For a row
that isn't the same, the reason is what differs between the two manifests as far as that row goes: data, encoder, code,
versions, hardware. Where nothing differs, the row should have been the same, and that is said.
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
from negmark.core.spreadsheet import csv
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
"""Share of a tolerance that is added to it: 0.505 - 0.5 is a little more than 0.005 in binary."""

Reasons = dict[str, list[str]]
"""What differs between two manifests in words, by its kind."""


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
        found = differences(row["dataset"], row["row"], *manifests)
        row.setdefault("reason", "" if row["verdict"] == SAME else ", ".join(found) or UNEXPLAINED)
    return pd.DataFrame(rows)


def differences(dataset: str, row: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Reasons:
    """Return what differs between two manifests as far as a row of the board goes."""
    place = f"{dataset}/{row}"
    sets = {dataset, ours["suite"]["datasets"].get(dataset, {}).get("trained_on") or dataset}
    environments = [_environment(manifest, place) for manifest in (ours, theirs)]
    found = {
        "data": [
            line
            for name in sorted(sets)
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
    return {kind: lines for kind, lines in found.items() if lines}


def table(judged: pd.DataFrame) -> str:
    """Return the comparison as text, a line a row of the board."""
    shown = judged.assign(
        difference=[_signed(value) for value in judged["difference"]],
        tolerance=[f"{value:g}" if pd.notna(value) else NOWHERE for value in judged["tolerance"]],
    )
    return tabulate(shown.to_dict("list"), headers="keys", tablefmt="simple", disable_numparse=True)


def explained(judged: pd.DataFrame, manifests: tuple[dict[str, Any], dict[str, Any]]) -> list[str]:
    """Return a line for everything that differs between the manifests, whether it changed a row or not."""
    lines: dict[str, None] = {}
    for dataset, method in zip(judged["dataset"], judged["row"], strict=True):
        for kind, found in differences(dataset, method, *manifests).items():
            lines.update(dict.fromkeys(f"{kind}: {line}" for line in found))
    commits = [sorted({one["code"] for one in manifest["environments"]}) for manifest in manifests]
    if commits[0] != commits[1]:
        told = [" and ".join(part) for part in commits]
        lines[
            f"commit: {told[0]} when committed, {told[1]} now (only what stands under code touches a row)"
        ] = None
    return list(lines)


def main(
    committed: Annotated[Path, Option(help="folder of the committed board")],
    rebuilt: Annotated[Path, Option(help="folder of the rebuilt board")],
) -> None:
    """Compare a rebuilt board with the committed one; the exit code says whether every row was reproduced."""
    manifests = read_board(committed / MANIFEST), read_board(rebuilt / MANIFEST)
    judged = compare(_read(committed / TABLE), _read(rebuilt / TABLE), manifests)
    lines = explained(judged, manifests)
    if sha256_file(committed / TABLE) != manifests[0]["table"]:
        lines.insert(0, EDITED)
        judged["reason"] = judged["reason"].replace(UNEXPLAINED, EDITED)
    counts = ", ".join(f"{(judged['verdict'] == word).sum()} {word}" for word in (SAME, WITHIN, DIFFERS))
    said = f"{committed}: {len(judged)} rows: {counts}"
    between = "\n".join(f"- {line}" for line in lines) or "- nothing"
    text = f"{table(judged)}\n\nBetween the two manifests differs:\n{between}\n\n{said}\n"
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
    frame = pd.read_csv(path)
    if lacking := [key for key in KEYS if key not in frame]:
        raise UserError(
            f"{path}: lacks the column {lacking[0]}, as boards of an older form do; build it anew"
        )
    kept = (
        frame[frame["status"] == OK] if "status" in frame else frame
    )  # a row that failed has nothing to compare
    return kept.fillna(dict.fromkeys(KEYS, ""))


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
    found = {name: _difference(one.get(name), other.get(name)) for name in allowed}
    worst = max(found, key=lambda name: _used(found[name], allowed[name]))
    used = _used(found[worst], allowed[worst])
    verdict = DIFFERS if used > 1 + SLACK else WITHIN if used else SAME
    return {
        "verdict": verdict,
        "difference": found[worst],
        "in": NOWHERE if verdict == SAME else worst.removesuffix("/mean"),
        "tolerance": allowed[worst] if verdict != SAME else None,
    }


def _difference(committed: Any, rebuilt: Any) -> float:
    """Return rebuilt minus committed; infinite where only one of them is a number."""
    gaps = [pd.isna(value) for value in (committed, rebuilt)]
    if any(gaps):
        return 0.0 if all(gaps) else float("inf")
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
    """Return where the runs of a row were made; what isn't the same for all its seeds is listed."""
    places = _row(manifest, place).get("environments", [])
    found = [manifest["environments"][number] for number in places]
    return {
        "packages": _joined(one["packages"] for one in found),
        "python": " and ".join(sorted({one["python"] for one in found})),
        "hardware": _joined(one["hardware"] for one in found),
    }


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for part in parts:
        for name, value in part.items():
            found.setdefault(name, {})[_word(value)] = None
    return {name: " and ".join(sorted(values)) for name, values in found.items()}


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
