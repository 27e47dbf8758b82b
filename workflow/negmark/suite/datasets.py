"""A dataset of a suite, made once when the suite is read."""

import os
from typing import Any

from pydantic import BaseModel, ConfigDict

from negmark.core.files import short_hash
from negmark.core.folders import expanded
from negmark.suite import own_files
from negmark.suite.settings import TRANSFER_KEYS, DatasetSettings, PoolSettings


class Dataset(BaseModel):
    """A dataset under the name that the board shows, with what decides its tables and where its runs are trained."""

    model_config = ConfigDict(frozen=True)

    name: str
    settings: DatasetSettings
    home: str
    """The dataset on which the runs of its board are trained: itself, unless it names another."""
    decides: dict[str, Any]
    """Everything that decides its prepared tables, its source named."""

    @property
    def collection(self) -> str:
        """The folder name of the prepared dataset: readable, and other settings give another one."""
        return f"{self.name}-{short_hash(self.decides)}"

    @property
    def is_home(self) -> bool:
        """Are runs trained on it?"""
        return self.settings.trained_on is None

    @property
    def has_sentences(self) -> bool:
        """Is it of the kind `sentences`: without labels, judged by STS?"""
        return self.settings.kind == "sentences"

    @property
    def has_dev(self) -> bool:
        """May it have a dev split? It is trained on, and its queries are searched."""
        return self.is_home and not self.has_sentences

    @property
    def hides_labels(self) -> bool:
        """Is something hidden from training, so that false negatives can be counted?"""
        return self.settings.hide is not None

    @property
    def preparers(self) -> list[str]:
        """The modules behind its tables: the one that is run first, then what hides, where something is hidden."""
        first = "negmark.data.sentences" if self.has_sentences else "negmark.data.prepare"
        return [first, *(["negmark.data.hidden"] if self.hides_labels else [])]

    @property
    def own_files(self) -> list[str]:
        """The user's files that its tables are made of; none of a dataset that is known by name."""
        sources = self.sources if self.reads_source else []
        return sorted({file for source in sources for file in own_files.of_dataset(source)})

    @property
    def sources(self) -> list[str]:
        """Where its records come from: one place, or those of a mixture."""
        mixed = self.settings.mix.items()
        return [source or name for name, source in mixed] or [self.decides["source"]]

    @property
    def given_files(self) -> list[str]:
        """The user's file of given negatives; none if it names none."""
        return [os.path.normpath(expanded(self.settings.given))] if self.settings.given else []

    @property
    def verdict_files(self) -> list[str]:
        """The user's file of verdicts on pairs; none if it names none."""
        return [os.path.normpath(expanded(self.settings.verdicts))] if self.settings.verdicts else []

    @property
    def reads_source(self) -> bool:
        """Are its tables made of a source? Sentences that are evaluated alone are the pairs of tasks."""
        return self.is_home or not self.has_sentences

    @property
    def evaluator(self) -> str:
        """The module that evaluates runs on it; all take the same options."""
        return "negmark.evaluate.sts" if self.has_sentences else "negmark.evaluate.evaluate"

    def resolved(self) -> dict[str, Any]:
        """Return what a config has to say to get this dataset, with every default written out."""
        return self.settings.model_dump(mode="json", include=set(self.settings.keys()))


def dataset_of(name: str, settings: DatasetSettings, trains: bool, pools: PoolSettings) -> Dataset:
    """Return the dataset of a checked config; `trains` says whether the suite trains anything."""
    alone = bool(settings.trained_on) or not trains
    keys = settings.keys()
    if not (trains or settings.trained_on) and settings.kind == "retrieval":
        keys = TRANSFER_KEYS | {"test_queries"}  # a gate needs no training split
    decides = settings.model_dump(include=set(keys) - {"trained_on", "given", "verdicts"})
    if alone:
        decides["test_only"] = True
    if (decides.get("hide") or {}).get("how") == "pooled":
        decides["hide"] |= pools.bm25()
    if decides.get("copies") == "masked":
        del decides[
            "copies"
        ]  # the default is left out, so that names and tuned rows hold for datasets without copies
    decides |= {"name": name, "source": settings.source or name}
    return Dataset(name=name, settings=settings, home=settings.trained_on or name, decides=decides)
