"""What a user asks advice about: a config of a few lines. Snakemake imports this when it plans: nothing heavy here.

    datasets: ./mine

is enough: one folder, archive or known name, or the section `datasets` of a suite. Every other key is one of a suite
too, and what the user sets stays as it is; `advise:` holds what advice alone has.
"""

import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from negmark.core.errors import UserError
from negmark.core.folders import expanded
from negmark.data.elsewhere import prefix_of, short_name
from negmark.suite.open import check_docstrings, refuse_repeated_keys
from negmark.suite.paths import BOARDS
from negmark.suite.settings import Number, Settings
from negmark.suite.study import is_study, slug
from negmark.suite.validation import shown, validated

ADVISE = "advise"
"""The target, and the key of the section."""
FOLDER = Path("results/advice")
TIER = "static"
CONFIG = "suite.json"
"""The suite that advice makes, in its folder."""
OF_SUITES = (
    "all",
    "plan",
    "tune",
    "card",
    "claims",
    "gates",
    "negatives",
    "audit_given",
    "models",
    "mteb",
    "reproduce",
    "sync",
    "to_judge",
    "trec",
)
"""Targets that a user may ask of a suite."""
EXAMPLE = "a file mine.yaml with the line `datasets: ./mine`, and --configfile mine.yaml"
File = Literal["triplets.jsonl", "tuples.jsonl", "tevatron.jsonl", "bge.jsonl", "dpr.jsonl", "run.trec"]


class AdviseSettings(Settings):
    """The section `advise`."""

    minutes: Number = Field(default=20.0, gt=0)
    """How long it may take, from the start to the page. What has to be left out for that is said."""
    file: File = "tuples.jsonl"
    """The form of the file of negatives, one of those that `snakemake negatives` writes."""


@dataclass(frozen=True)
class Asked:
    """A config for advice, its short forms written out."""

    suite: str
    settings: AdviseSettings
    config: dict[str, Any]
    """The keys of a suite that the user gives, `suite` and `datasets` among them."""
    file: str
    """The config's name in messages."""

    @property
    def folder(self) -> Path:
        """Where its page and its plan are."""
        return FOLDER / self.suite

    def as_json(self) -> str:
        """Return it as JSON, which a job is given."""
        return json.dumps({**asdict(self), "settings": self.settings.model_dump()}, default=str)


def asked_from(written: str) -> Asked:
    """Return what `as_json` wrote."""
    values = json.loads(written)
    return Asked(**{**values, "settings": AdviseSettings.model_validate(values["settings"])})


def is_advice(config: Mapping[str, Any], arguments: Collection[str]) -> bool:
    """Say whether a call of snakemake asks for advice: by its config, or by its target.

    Targets are looked for among the arguments, as Snakemake reads the Snakefile before it knows them.
    """
    return ADVISE in config or ADVISE in arguments


def open_asked(
    config: Mapping[str, Any],
    files: Sequence[str | Path],
    arguments: Collection[str],
    check: Callable[[Asked], None],
) -> Asked:
    """Return what a call of snakemake asks; a mistake ends the program with one line.

    `check` raises `UserError` where no suite can be made of it.
    """
    try:
        check_docstrings(sys.flags.optimize)
        for file in files:
            refuse_repeated_keys(Path(file))
        asked = asked_of(config, " + ".join(map(str, files)) or "--config")
        refuse_other_targets(asked, arguments)
        check(asked)
        return asked
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def refuse_other_targets(asked: Asked, arguments: Collection[str]) -> None:
    """Refuse the targets of a suite, which a config with the section `advise` has none of."""
    if found := [name for name in OF_SUITES if name in arguments]:
        raise UserError(
            f"{asked.file}: {found[0]}: with `{ADVISE}:` there is one target, {ADVISE}; the suite that it makes is "
            f"{asked.folder / CONFIG}, whose other targets are run by --configfile {asked.folder / CONFIG}"
        )


def asked_of(config: Mapping[str, Any], file: str) -> Asked:
    """Return what a config asks. Raises `UserError` that names `file` and the key of the first mistake.

    What is a suite's is checked when a suite is made of it.
    """
    if is_study(config):
        raise UserError(f"{file}: advice is about one suite; leave `vary` and `sweep` out")
    if not config.get("datasets"):
        raise UserError(f"{file}: datasets: name your collection: {EXAMPLE}")
    if config.get("tier", TIER) != TIER:
        raise UserError(
            f"{file}: tier: advice is given in the tier {TIER}, found {shown(config['tier'])}; leave it out, or run "
            "the suite itself (target all)"
        )
    settings = validated(AdviseSettings, config.get(ADVISE) or {}, f"{file}: {ADVISE}", separator=".")
    datasets = _written_out(config["datasets"], file)
    for name, entry in datasets.items():
        if entry is not None and not isinstance(entry, Mapping):
            raise UserError(
                f"{file}: datasets.{name}: expected a path, or keys and values, found {shown(entry)}"
            )
    name = config.get("suite", f"advice-{slug(next(iter(datasets)))}")
    own = {key: value for key, value in config.items() if key != ADVISE}
    asked = Asked(str(name), settings, {**own, "suite": name, "datasets": datasets}, file)
    if Path(BOARDS, asked.suite).is_dir() and not asked.folder.is_dir():
        raise UserError(
            f"{file}: suite: {BOARDS}/{asked.suite} is a board that no advice has made; leave `suite` out, or use "
            "another name"
        )
    return asked


def _written_out(given: Any, file: str) -> dict[str, Any]:
    """Return the section `datasets`; a text alone is one dataset, by its known name or its path.

    A text as an entry is the entry's source.
    """
    if isinstance(given, Mapping):
        entries = {str(name): entry for name, entry in given.items()}
        return {
            name: {"source": entry} if isinstance(entry, str) else entry for name, entry in entries.items()
        }
    if not isinstance(given, str):
        raise UserError(
            f"{file}: datasets: expected a folder, an archive or datasets by name, found {shown(given)}"
        )
    if "/" not in given and not prefix_of(given) and not expanded(given).exists():
        return {given: None}
    path = given if "/" in given or prefix_of(given) else f"./{given}"
    stem = Path(short_name(path)).name
    for ending in (".gz", ".tgz", ".tar", ".zip"):
        stem = stem.removesuffix(ending)
    name = slug(stem)[:40] or "mine"
    return {name: {"source": path}}
