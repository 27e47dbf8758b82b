"""What decides a result, as canonical JSON: the parameters by which Snakemake knows what to re-run."""

from dataclasses import asdict
from typing import Any

from negmark.core.files import canonical, short_hash
from negmark.core.metrics import DEFAULT as METRICS
from negmark.core.tiers import DEFAULT
from negmark.methods import registry
from negmark.suite.datasets import Dataset
from negmark.suite.paths import Paths
from negmark.suite.rows import CURVE_KEYS, Row
from negmark.suite.suite import Suite


class Specs:
    """What decides the results of a suite."""

    def __init__(self, suite: Suite, paths: Paths) -> None:
        self._suite, self._paths = suite, paths

    def run(self, dataset: Dataset, row: Row) -> dict[str, Any]:
        """Return what decides a row's runs on a dataset: an edit of another row doesn't touch it.

        The seeds are left out, as they name the folders: so the same runs in other jobs stay done.
        """
        spec = {
            "suite": self._suite.suite,
            "dataset": dataset.name,
            "row": row.name,
            "method": row.method.name,
            "params": row.parameters(dataset.name),
            "training": self.training(dataset, row),
        }
        if row.tier.name != DEFAULT:
            spec |= {"tier": row.tier.name, "encoder": self._paths.encoder_of(dataset)}
        if row.track == "faithful":
            spec["track"] = row.track
        if row.lender:
            spec["loss"] = {"method": row.lender.method.name, "params": row.lender.params}
        if row.composer:
            spec["composer"] = {"method": row.composer.method.name, "params": row.composer.params}
        if row.copy_of:
            spec["drawn_as"] = row.copy_of
        return spec

    def training(self, dataset: Dataset, row: Row) -> dict[str, Any]:
        """Return the budget of a row's runs, with its learning rate and its curve, if it has one."""
        budget = row.budget.model_dump(exclude={"first_stage", "depth"})
        budget["learning_rate"] = row.learning_rate(dataset.name)
        if not row.budget.curve_every or dataset.has_sentences:
            return {key: value for key, value in budget.items() if key not in CURVE_KEYS}
        return {**budget, **self._curve_metric()}

    def trials(self, dataset: Dataset, row: Row) -> dict[str, Any]:
        """Return what decides the trials of a row on a dataset, rates, values and seeds aside: one point at the end."""
        spec = self.run(dataset, row)
        curve = {"curve_every": row.budget.steps, "curve_queries": row.budget.curve_queries}
        spec["training"] = {**spec["training"], **curve, **self._curve_metric()}
        return spec

    def _curve_metric(self) -> dict[str, str]:
        """Return what curves measure: the metric that ranks the board, left out if it is the default."""
        first = self._suite.metrics[0]
        return {} if first == METRICS[0] else {"metric": first}

    def tuned_under(self, dataset: Dataset, row: Row) -> str:
        """Return a hash of all settings under which a row is tuned on a dataset.

        Except the precision of the forward pass, as a manifest names the one that `auto` meant on its machine, and the
        suite's name, as a board is rebuilt under another one.
        """
        suite, spec = self._suite, self.run(dataset, row)
        del spec["suite"]
        spec["training"] = {**row.budget.decides(), **self._curve_metric()}
        start = suite.start()
        teacher = suite.teacher.model_dump() if suite.teacher else start
        encoders = [spec.pop("encoder", None), start, teacher]
        known = [{**settings, "dtype": None} for settings in encoders if settings]
        texts = [suite.generator.model_dump()] if row.text_kinds else []
        return short_hash(
            [spec, dataset.collection, known, suite.finetune.decides(), suite.pool_key(), *texts]
        )

    def encoder(self, dataset: Dataset, key: str) -> str:
        """Return the settings of the encoder or teacher that a folder name belongs to."""
        if self._suite.teacher_encoder and key == self._paths.teacher_key:
            return canonical(self._suite.teacher_encoder.model_dump())
        return canonical(self._paths.encoder_of(dataset))

    def pools(self) -> str:
        """Return the settings of the pools."""
        return canonical(self._suite.pools.decides())

    def edits(self) -> str:
        """Return what decides edits: versions, and BM25 for the sentences that are spliced in."""
        bm25 = self._suite.pools.model_dump(exclude={"index", "depth"})
        return canonical({**self._suite.generator.decides("edits"), **bm25})

    def written(self) -> str:
        """Return what decides the texts of the model that writes."""
        return canonical(self._suite.generator.decides("written"))

    def judging(self) -> str:
        """Return the judge of made texts and the filter."""
        return canonical({"judge": self._suite.judge(), **self._suite.generator.judging()})

    def gates(self) -> str:
        """Return the gates of the suite."""
        return canonical({name: gate.model_dump() for name, gate in self._suite.gates.items()})

    def claims(self) -> str:
        """Return a hash of what all methods' files claim."""
        claims = {
            name: [asdict(claim) for claim in kind.claims] for name, kind in registry.available().items()
        }
        return short_hash(claims)
