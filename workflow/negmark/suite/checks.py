"""A suite's config file, checked: a mistake in it is answered by one line that names the key and what is allowed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from negmark.core.errors import UserError
from negmark.core.folders import DATA_VARIABLE, MODELS_VARIABLE, is_file, is_folder
from negmark.core.names import BASELINES
from negmark.core.tiers import TIERS, TRACKS
from negmark.data.archive import ENDINGS, is_archive
from negmark.data.catalogue import known_datasets
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.suite.settings import ROW_KEYS, DatasetSettings, Suite
from negmark.suite.tuning import TUNED
from negmark.suite.validation import nearest, shown, validated


def load(config: Mapping[str, Any], file: str) -> Suite:
    """Check a suite's config and return it. Raises `UserError` with a line for the first mistake in it.

    `file` names the config in messages. A key that is unknown is answered with the nearest allowed one.
    """
    suite = validated(Suite, config, file)
    if not suite.methods and not suite.gates:
        raise UserError(
            f"{file}: methods: name at least one, or `gates:` where baselines alone are evaluated"
        )
    for row in suite.methods:
        _check_row(suite, row, file)
    for row in suite.methods:
        _check_method(suite, row, file)
    rows = {*suite.methods, *(suite.method(row).name for row in suite.methods)}
    if suite.reference not in {*rows, Suite.model_fields["reference"].default}:
        raise UserError(
            f"{file}: reference: no row is called '{suite.reference}'; {nearest(suite.reference, list(rows))}"
        )
    for name in suite.gates:
        _check_gate(suite, name, f"{file}: gates.{name}")
    for name in suite.datasets:
        _check_dataset(suite, name, f"{file}: datasets.{name}")
    _check_tuning(suite, file)
    if repeated := {seed for seed in suite.seeds if suite.seeds.count(seed) > 1}:
        raise UserError(f"{file}: seeds: {min(repeated)} stands there twice; each seed is one run")
    if suite.finetune.checkpoint_steps % suite.finetune.accumulation:
        raise UserError(
            f"{file}: finetune.checkpoint_steps: {suite.finetune.checkpoint_steps} is no multiple of "
            f"finetune.accumulation ({suite.finetune.accumulation}): a checkpoint can't lie within an optimiser step"
        )
    if suite.pools.index.kind == "hnsw" and suite.shards.documents > 1:
        raise UserError(
            f"{file}: shards.documents: a graph (pools.index.kind: hnsw) can't be parted, found "
            f"{suite.shards.documents}; leave it at 1, or take ivf"
        )
    for key, folder in (("data", suite.data), ("models", suite.models)):
        if folder and not is_folder(Path(folder)):
            raise UserError(f"{file}: {key}: there is no folder {folder}")
    return suite


def export_folders(suite: Suite) -> None:
    """Hand the config's `data` and `models` to the jobs. No parameters: where a file lies doesn't change a result."""
    for variable, folder in ((DATA_VARIABLE, suite.data), (MODELS_VARIABLE, suite.models)):
        if folder:
            os.environ[variable] = str(Path(folder).resolve())


def _check_row(suite: Suite, row: str, file: str) -> None:
    """Check what a row says beside its parameters, so that rows may be asked about each other."""
    where = f"{file}: methods.{row}"
    if row in BASELINES:
        raise UserError(f"{where}: the board gives this name to a baseline; call the row otherwise")
    for key, value in (suite.methods[row] or {}).items():
        if (
            key in ROW_KEYS - {"budget"}
            and not isinstance(value, str)
            and not (key == "start" and value is None)
        ):
            raise UserError(f"{where}.{key}: input should be a valid string, found {shown(value)}")
    start = suite.start(row)
    if start is not None and start not in suite.methods:
        raise UserError(f"{where}.start: unknown row {start!r}; {nearest(start, list(suite.methods))}")


def _check_method(suite: Suite, row: str, file: str) -> None:
    where = f"{file}: methods.{row}"
    try:
        available = registry.available()
    except ValueError as error:
        raise UserError(f"{error}; mend the method, or take its file away") from error
    name = suite.method_name(row)
    if name not in available:
        raise UserError(f"{where}: unknown method {name!r}; {nearest(name, list(available))}")
    _check_track(suite, row, available[name], where)
    _check_budget(suite, row, where)
    params = validated(available[name].Params, suite.given(row), where, separator=".")
    needed = _asked(available[name], params, suite.track(row), suite.row_tier(row))
    if suite.row_tier(row) == "rerank" and needed:
        raise UserError(
            f"{where}.tier: this row of {name} needs {needed}, which a cross-encoder has not; "
            "allowed: adapter, finetune"
        )


def _check_budget(suite: Suite, row: str, where: str) -> None:
    """Check what a row changes of its tier's budget; on the controlled track all have the same one."""
    own = (suite.methods[row] or {}).get("budget")
    if own is None:
        return
    if suite.track(row) != "faithful":
        raise UserError(
            f"{where}.budget: rows of the controlled track all have the suite's budget; add `track: faithful`, or take "
            "it away"
        )
    tier = suite.budget(suite.row_tier(row))
    whole = {**tier.model_dump(), **own} if isinstance(own, dict) else own
    validated(type(tier), whole, f"{where}.budget", separator=".")


def _asked(method: type[Method], params: BaseModel, track: str, tier: str) -> str:
    """Ask a method all that a plan asks it, and return what vectors it needs; its code may raise anything."""
    try:
        method.footnotes(track, tier)
        if not all(tried.values for tried in method.space(params, track).values()):
            raise ValueError("space() names a parameter without values to try")
        return method.vectors_needed(params, track)
    except Exception as error:
        raise UserError(
            f"{registry.place(method)}: {method.name} can't be asked: {type(error).__name__}: {error}; mend the method"
        ) from error


def _check_track(suite: Suite, row: str, method: type[Method], where: str) -> None:
    track, start = suite.track(row), suite.start(row)
    if track not in TRACKS:
        raise UserError(f"{where}.track: unknown track {track!r}; {nearest(track, list(TRACKS))}")
    if track == "faithful" and not method.faithful:
        raise UserError(
            f"{where}.track: {method.name} has no recipe beside its negatives; only 'controlled' is allowed"
        )
    tier = suite.row_tier(row)
    if tier not in TIERS:
        raise UserError(f"{where}.tier: unknown tier {tier!r}; {nearest(tier, list(TIERS))}")
    if start is not None and suite.row_tier(start) != tier:
        raise UserError(
            f"{where}.start: {start} is of the tier {suite.row_tier(start)}, this row of the tier {tier}; "
            "a run can go on from its own tier alone"
        )
    seen = [row]
    while start is not None:
        if start in seen:
            raise UserError(f"{where}.start: {' starts from '.join([*seen, start])}, which never begins")
        seen.append(start)
        start = suite.start(start)


def _check_tuning(suite: Suite, file: str) -> None:
    tuning, where = suite.tuning, f"{file}: tuning"
    if 1 not in tuning.rates or len(set(tuning.rates)) < len(tuning.rates):
        raise UserError(f"{where}.rates: each factor may stand there once, and 1, the suite's own rate, must")
    if tuning.trials > len(tuning.rates):
        raise UserError(
            f"{where}.trials: {tuning.trials} trials need as many learning rates, tuning.rates has "
            f"{len(tuning.rates)}"
        )
    for row in tuning.methods:
        if row not in suite.methods or suite.row_tier(row) == "rerank":
            able = [name for name in suite.methods if suite.row_tier(name) != "rerank"]
            raise UserError(f"{where}.methods: no row '{row}' that can be tuned; {nearest(row, able)}")
    for row in suite.tuned_rows():
        if suite.start(row) and not set(suite.trial_seeds()) <= set(suite.seeds):
            raise UserError(
                f"{where}.seeds: {row} starts from {suite.start(row)}, whose seeds are {suite.seeds}; take some of them"
            )
        if f"{row}{TUNED}" in suite.methods:
            raise UserError(
                f"{file}: methods.{row}{TUNED}: the board gives this name to {row} when it is tuned"
            )
        for point in suite.points(row):
            given = {**suite.given(row), **point.params}
            validated(suite.method(row).Params, given, f"{file}: methods.{row}: its space for tuning", ".")
    if suite.tuned and (without := [name for name in suite.sentences() if suite.home(name) == name]):
        raise UserError(f"{file}: tuned: {without[0]} has sentences and so no dev split to tune on")


def _check_gate(suite: Suite, name: str, where: str) -> None:
    gate = suite.gates[name]
    searched = [other for other in suite.datasets if other not in suite.sentences()]
    if gate.dataset not in searched:
        raise UserError(
            f"{where}.dataset: unknown dataset '{gate.dataset}'; {nearest(gate.dataset, searched)}"
        )
    needed, foreign = (
        (("k1", "b"), ("length",)) if gate.system == "bm25_search" else (("length",), ("k1", "b"))
    )
    for key in needed:
        if getattr(gate, key) is None:
            raise UserError(
                f"{where}.{key}: this key is missing; a gate of {gate.system} needs {' and '.join(needed)}"
            )
    for key in foreign:
        if getattr(gate, key) is not None:
            raise UserError(
                f"{where}.{key}: a gate of {gate.system} has no such setting; it has {', '.join(needed)}"
            )
    lengths = {suite.encoder.query_length, suite.encoder.document_length}
    if gate.length is not None and lengths != {gate.length}:
        raise UserError(
            f"{where}.length: {gate.length} tokens were read for the published value, but encoder.query_length is "
            f"{suite.encoder.query_length} and encoder.document_length {suite.encoder.document_length}"
        )


def _check_dataset(suite: Suite, name: str, where: str) -> None:
    settings = suite.datasets[name] or DatasetSettings()
    if foreign := sorted(settings.model_fields_set - settings.keys() - {"kind"}):
        alone = " that is evaluated alone" * bool(settings.trained_on)
        raise UserError(
            f"{where}.{foreign[0]}: a dataset of the kind {settings.kind}{alone} has no such setting; "
            f"allowed: {', '.join(sorted(settings.keys()))}"
        )
    if settings.trained_on:
        _check_home(suite, name, where)
    if settings.test_split == "train":
        raise UserError(
            f"{where}.test_split: what is trained on is no test; name another split, as test, dev or dl20"
        )
    if settings.kind == "sentences" and settings.trained_on:
        return
    check = _check_sentences if settings.kind == "sentences" else _check_source
    check(settings.source or name, where)
    known = known_datasets().get(settings.source or name)
    if suite.methods and known and not known.train and not settings.trained_on:
        raise UserError(
            f"{where}: {settings.source or name} has no training labels; name by `trained_on` the dataset "
            "of this suite whose runs are to be evaluated on it"
        )
    if known and not known.test and settings.test_queries is None:
        remedy = (
            "train on it"
            if settings.trained_on
            else "`test_queries: 1000` sets training queries aside for one"
        )
        raise UserError(f"{where}: {settings.source or name} has no test split; {remedy}")
    for row in suite.methods if settings.kind == "sentences" else ():
        if suite.row_tier(row) != "finetune":
            raise UserError(
                f"{where}.kind: {row} is of the tier {suite.row_tier(row)}, which has no dropout to make two views "
                "of a sentence; only 'finetune' trains on sentences"
            )


def _check_home(suite: Suite, name: str, where: str) -> None:
    homes = [other for other, settings in suite.datasets.items() if not (settings and settings.trained_on)]
    if suite.home(name) not in homes:
        raise UserError(
            f"{where}.trained_on: {suite.home(name)!r} is no dataset that this suite trains on; "
            f"{nearest(suite.home(name), homes)}"
        )
    if suite.warms_up():
        raise UserError(
            f"{where}.trained_on: each dataset's encoder is warmed up on it, so its runs have no start in common "
            "with another dataset; leave out encoder.reinit_top and encoder.warmup_steps"
        )
    if name in suite.sentences() and "rerank" in suite.tiers().values():
        raise UserError(f"{where}.trained_on: a row of the tier rerank has no vectors for sentences")


def _check_sentences(source: str, where: str) -> None:
    names = _names("sentences")
    if source in names or (source.endswith((".txt", ".txt.gz")) and is_file(Path(source))):
        return
    raise UserError(
        f"{where}: unknown sentences '{source}'; {nearest(source, names)}, "
        "or a .txt or .txt.gz file that is there, with one sentence a line"
    )


def _names(kind: str) -> list[str]:
    return [name for name, known in known_datasets().items() if known.kind == kind]


def _check_source(source: str, where: str) -> None:
    if "/" in source or source.startswith(".") or source.endswith(ENDINGS):
        if not is_folder(Path(source)) and not (is_archive(Path(source)) and is_file(Path(source))):
            raise UserError(
                f"{where}: there is no folder {source} in BEIR layout, nor such an archive ({', '.join(ENDINGS)})"
            )
    elif source in _names("sentences"):
        raise UserError(f"{where}: {source} has sentences without labels; say `kind: sentences`")
    elif source not in known_datasets():
        raise UserError(
            f"{where}: unknown dataset '{source}'; {nearest(source, _names('retrieval'))}, "
            "or a folder or archive in BEIR layout, written with a slash, as ./mine or ./mine.zip"
        )
