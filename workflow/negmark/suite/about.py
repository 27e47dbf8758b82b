"""What a result says of itself: the facts of metrics.json and of a board, as canonical JSON."""

from typing import Any

from pydantic import BaseModel

from negmark import __version__
from negmark.core.files import canonical
from negmark.core.names import BASELINES, LEXICAL, RANKER, STS, UNTRAINED
from negmark.core.notation import counted, listed
from negmark.core.tiers import DEFAULT
from negmark.suite.datasets import Dataset
from negmark.suite.paths import Paths
from negmark.suite.rows import Row
from negmark.suite.settings import TrainingSettings
from negmark.suite.suite import Suite
from negmark.suite.tuning import footnote


def _of_budget(budget: TrainingSettings) -> list[str]:
    """Return what a budget changes of what is trained, or of the loss."""
    lora, dimensions = getattr(budget, "lora", None), getattr(budget, "matryoshka", [])
    notes = [f"adapters of rank {lora.rank} are trained, not the whole transformer"] if lora else []
    if dimensions:
        notes.append(
            f"the losses by the first {listed([f'{one:,}' for one in dimensions])} dimensions are added up"
        )
    return notes


def _of_temperature(row: Row, params: BaseModel) -> list[str]:
    """Return that a paper's own recipe is run at another temperature than the paper's, if so."""
    paper, own = row.method.papers_temperature(params), row.budget.temperature
    if row.track != "faithful" or paper in (None, own):
        return []
    return [f"a temperature of {own:g} instead of the paper's {paper:g}"]


class About:
    """What the results of a suite say of themselves."""

    def __init__(self, suite: Suite, paths: Paths) -> None:
        self._suite, self._paths = suite, paths

    def runs(self, dataset: Dataset, row: Row) -> str:
        """Return what the metrics.json of a row's runs on a dataset say about them."""
        home = self._suite.datasets[dataset.home]
        facts = self._common(dataset, row.name, row.title)
        if not dataset.is_home:
            facts["trained_on"] = home.name
        facts |= {"method": row.method.name, "tier": row.tier.name, "start": self._start(row)}
        if row.tier.name != DEFAULT:
            facts["encoder"] = self._paths.encoder_of(home)
        if row.tier.scores_pairs:
            facts |= self._ranker()
        params = row.parameters(home.name)
        if row.chosen:
            params["learning_rate"] = row.learning_rate(home.name)
        facts |= {
            "track": row.track,
            "adaptations": self._footnotes(home, row),
            "summary": row.method.summary(),
            "paper": row.method.citation,
            "params": params,
            "conditions": self._conditions(home, row),
            "chain": [start.name for start in self._suite.chain(row)],
            "before": self._suite.rerank.first_stage if row.tier.scores_pairs else UNTRAINED,
        }
        return canonical(facts)

    def _conditions(self, home: Dataset, row: Row) -> dict[str, Any]:
        """Return what two rows must have in common for a claim to compare them, beside tier and track.

        Steps and queries are those of all rows of a chain. The learning rate is that before tuning, which alone may
        change it.
        """
        trained = [row, *self._suite.chain(row)]
        return {
            "loss": row.loss,
            "depth": self._depth(row),
            "steps": sum(one.budget.steps for one in trained),
            "training_queries": sum(one.budget.steps * one.budget.batch_size for one in trained),
            "negatives": row.granted,
            "in_batch": row.budget.in_batch,
            "temperature": row.budget.temperature,
            "learning_rate": row.budget.learning_rate,
            **({"composer": row.composer.row} if row.composer else {}),
            **({"teacher": self._suite.teacher_text()} if row.asks_teacher and self._suite.teacher else {}),
        }

    def _depth(self, row: Row) -> int | None:
        """Return how many candidates of a pool a row draws from; None if it draws from none, or takes the very top.

        A pool has so many fewer as the row leaves out of its top. A parameter `depth` is a place in the pool, though,
        and counts those.
        """
        params = row.method.Params.model_validate(row.defaults)
        asked = row.method.drawn_from(params, row.track)
        left_out = 0 if hasattr(params, "depth") else getattr(params, "skip", None) or 0
        return asked and min(asked, max(self._suite.pools.depth - left_out, 0))

    def _start(self, row: Row) -> str:
        start = self._suite.start_text()
        if row.tier.scores_pairs:
            budget = self._suite.rerank
            table = (
                "table" in self._suite.start()
            )  # beside token tables it starts from the encoder that they are of
            own = self._suite.encoder.model if table else start
            start = budget.model or f"{own}, with a new scoring head,"
            start += f" and re-rank the top {budget.depth} of {BASELINES[budget.first_stage][0]}"
        return f"{start}, then the model of {row.start}" if row.start else start

    def _ranker(self) -> dict[str, Any]:
        budget = self._suite.rerank
        return {
            "first_stage": budget.first(self._suite.pools),
            "ranker": budget.model_dump(include={"model", "precision", "chunk_tokens"}),
        }

    def _footnotes(self, home: Dataset, row: Row) -> list[str]:
        """Return how a row differs from its paper and from the other rows."""
        footnotes = row.method.notes(
            row.track,
            scores_pairs=row.tier.scores_pairs,
            sentences=home.has_sentences,
            graded=bool(home.settings.graded),
            ranker_teaches=self._suite.ranker_teaches,
        )
        params = row.method.Params.model_validate(row.parameters(home.name))
        footnotes += [*row.method.own_notes(params, row.track), *_of_temperature(row, params)]
        footnotes = [note.replace("{teacher}", self._suite.teacher_text()) for note in footnotes]
        if row.asks_teacher and (name := self._suite.trained_teacher):
            trained = self._suite.rows[name].budget.steps
            footnotes.append(
                f"its teacher, {name}, was trained for {trained:,} steps, not counted among its own"
            )
        if row.composition(home.name):
            whose = f"put together by {row.composer.row}" if row.composer else "of its own making"
            footnotes.append(
                f"its batches are {whose}: the same queries and positives as in other rows, in other company"
            )
        if row.own_budget:
            own = {key.replace("_", " "): getattr(row.budget, key) for key in row.own_budget}
            changes = ", ".join(f"{key} {value:,}" for key, value in own.items())
            footnotes.append(f"trained with a budget of its own: {changes}")
        footnotes += _of_budget(row.budget)
        if row.lender:
            given = counted(row.granted, "negative")
            footnotes.append(f"trained with the loss, towers and budget of {row.lender.row}, {given} a query")
        if chain := self._suite.chain(row):
            steps = {one.name: one.budget.steps for one in chain}
            whole = row.budget.steps + sum(steps.values())
            theirs = listed([f"{count:,} of them those of {name}" for name, count in steps.items()])
            footnotes.append(f"{whole:,} steps, {theirs}: starts from the trained model of {row.start}")
        if chosen := row.chosen.get(home.name):
            footnotes.append(footnote(chosen, self._suite.metrics[0]))
        return footnotes

    def baseline(self, dataset: Dataset, name: str) -> str:
        """Return what a baseline's metrics.json says about it."""
        title, summary = BASELINES[name]
        facts = self._common(dataset, name, title)
        facts |= {"track": "baseline", "adaptations": [], "paper": "", "method": None, "tier": None}
        facts |= {"conditions": {}, "chain": [], "before": ""}
        facts |= {"start": self._suite.start_text(), "summary": summary}
        facts["params"] = self._suite.pools.bm25() if name == LEXICAL else {}
        return canonical(facts)

    def gate(self, name: str) -> str:
        """Return what the metrics.json of a gate's baseline says about it."""
        gate, dataset = self._suite.gates[name], self._suite.datasets[self._suite.gates[name].dataset]
        model = self._suite.rerank.model
        system = model if gate.system == RANKER else BASELINES[gate.system][0]
        params = {"k1": gate.k1, "b": gate.b} if gate.system == LEXICAL else {}
        facts = self._common(dataset, gate.system, f"{system} (gate {name})")
        if gate.system == RANKER:
            facts |= {"tier": "rerank", "encoder": self._paths.encoder_of(dataset), **self._ranker()}
        return canonical({**facts, "metrics": [gate.metric], "track": "baseline", "params": params})

    def board(self) -> dict[str, Any]:
        """Return what the board says about the whole suite."""
        suite = self._suite
        facts: dict[str, Any] = {"suite": suite.suite, "encoder": suite.encoder.model}
        facts["versions"] = {"negmark": __version__, "suite": suite.version}
        facts |= {**suite.encoder.model_dump(exclude={"model"}), **suite.training.model_dump()}
        budgets = {tier: suite.budget(tier).model_dump() for tier in suite.tier_names}
        facts |= {"seeds": len(suite.seeds), "budgets": budgets, "trained_on": suite.homes}
        return {**facts, "reference": suite.reference, "seed_numbers": suite.seeds}

    def _common(self, dataset: Dataset, row: str, title: str) -> dict[str, Any]:
        metrics = [STS, *sorted(dataset.settings.sts)] if dataset.has_sentences else self._suite.metrics
        about = {"suite": self._suite.suite, "dataset": dataset.name, "row": row, "title": title}
        return {**about, "metrics": metrics}
