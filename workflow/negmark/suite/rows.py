"""Rows of a board: what a config says of one, and the row that is made of it once, when the suite is read."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from negmark.core.tiers import TIERS, Tier
from negmark.methods.base import Method
from negmark.suite.settings import Settings, Text, TrainingSettings
from negmark.suite.tuning import Chosen, Point, points, rate_of

CURVE_KEYS = frozenset({"curve_every", "curve_queries"})


class RowSettings(Settings):
    """The settings of a row; every other key is a parameter of its method."""

    model_config = ConfigDict(extra="allow")

    method: Text | None = None
    """The method, if the row has another name."""
    track: Text = "controlled"
    """`controlled`: only the negatives are the method's; `faithful`: the paper's own recipe."""
    tier: Text | None = None
    """What is trained, if not the suite's `tier`."""
    start: Text | None = None
    """The row whose model this one starts from."""
    budget: Any = None
    """What a faithful row changes of its tier's budget, to have its paper's."""

    @property
    def given(self) -> dict[str, Any]:
        """The parameters of the method that the config sets."""
        return dict(self.model_extra or {})


class Row(BaseModel):
    """A row of the board: a method with its parameters, track, tier, start and budget.

    A trial or a tuned row is a copy of a row of the config with another learning rate and other parameters: those of
    a trial are its `trial`, those of a tuned row were chosen for each dataset.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    method: type[Method]
    track: str
    tier: Tier
    start: str | None
    given: dict[str, Any]
    """Parameters that the config sets."""
    defaults: dict[str, Any]
    """All parameters as the config has them, defaults included."""
    budget: SerializeAsAny[TrainingSettings]
    """Training settings: those of its tier, and what the row changes of them."""
    own_budget: dict[str, Any]
    """What it changes."""
    copy_of: str | None = None
    """The row of the config that this one is a copy of."""
    trial: Point | None = None
    chosen: dict[str, Chosen] = {}
    """By dataset: what tuning chose."""

    @property
    def original(self) -> str:
        """The row of the config that this is a copy of; any other is its own."""
        return self.copy_of or self.name

    @property
    def title(self) -> str:
        """The method's title, with the row's own name where that says more."""
        usual = {self.method.name, f"{self.method.name}_{self.track}", f"{self.method.name}_{self.tier.name}"}
        title = self.method.title if self.original in usual else f"{self.method.title} ({self.original})"
        return f"{title}, tuned" if self.chosen else title

    def point(self, dataset: str) -> Point | None:
        """Return what a copy changes of its row on a dataset; None of any other."""
        chosen = self.chosen.get(dataset)
        return Point(chosen.factor, chosen.params) if chosen else self.trial

    def parameters(self, dataset: str) -> dict[str, Any]:
        """Return all parameters of the method on a dataset."""
        point = self.point(dataset)
        return {**self.defaults, **(point.params if point else {})}

    def learning_rate(self, dataset: str) -> float:
        """Return the peak learning rate on a dataset."""
        point = self.point(dataset)
        return rate_of(self.budget.learning_rate, point.factor) if point else self.budget.learning_rate

    @property
    def processes(self) -> int:
        """Processes of one of its runs."""
        return getattr(self.budget, "processes", 1)

    @property
    def threads(self) -> int:
        """Cores of one of its runs."""
        return getattr(self.budget, "threads", 1) * self.processes

    def points(self, rates: list[float], trials: int, seed: int) -> list[Point]:
        """Return the trials of the row. What its config sets itself stays as it is."""
        params = self.method.Params.model_validate(self.given)
        space = {
            key: tried
            for key, tried in self.method.space(params, self.track).items()
            if key not in self.given
        }
        return points(space, rates, trials, seed, f"{self.method.name}/{self.track}")

    def copied(self, name: str, **changes: Any) -> "Row":
        """Return a copy of the row under another name."""
        return self.model_copy(update={"name": name, "copy_of": self.name, **changes})

    def resolved(self) -> dict[str, Any]:
        """Return what a config has to say to get this row, with every default written out."""
        place = {"method": self.method.name, "track": self.track, "tier": self.tier.name}
        start = {"start": self.start} if self.start else {}
        return {**self.defaults, **place, **start, **({"budget": self.own_budget} if self.own_budget else {})}


def row_of(
    name: str, settings: RowSettings, tier: str, budget: TrainingSettings, methods: Mapping[str, type[Method]]
) -> Row:
    """Return the row of a checked config; `budget` is that of its tier."""
    method = methods[settings.method or name]
    own = dict(settings.budget or {})
    return Row(
        name=name,
        method=method,
        track=settings.track,
        tier=TIERS[tier],
        start=settings.start,
        given=settings.given,
        defaults=method.Params.model_validate(settings.given).model_dump(mode="json"),
        budget=type(budget).model_validate({**budget.model_dump(), **own}),
        own_budget=own,
    )
