"""Rows of a board: what a config says of one, and the row that is made of it once, when the suite is read."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from negmark.core.names import SHARED_LOSS, TUNED_TITLE
from negmark.core.tiers import TIERS, Tier
from negmark.methods.base import Method
from negmark.methods.types import Composition, Gives
from negmark.suite.settings import Settings, Text, TrainingSettings
from negmark.suite.tuning import Chosen, rate_of

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
    loss: Text | None = None
    """The faithful row whose loss, towers and budget this one is trained with, as a baseline of it."""
    composer: Text | None = None
    """The row, or the method, that puts its batches together; its negatives and its loss stay its own."""
    budget: Any = None
    """What a faithful row changes of its tier's budget, to have its paper's."""

    @property
    def given(self) -> dict[str, Any]:
        """The parameters of the method that the config sets."""
        return dict(self.model_extra or {})


class Lender(BaseModel):
    """Whose loss a row is trained with, or whose batches, in place of its own method's: a row of the suite."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    row: str
    method: type[Method]
    params: dict[str, Any]
    """All its parameters, defaults included."""


class Row(BaseModel):
    """A row of the board: a method with its parameters, track, tier, start and budget.

    A tuned row has another learning rate and other parameters, chosen for each dataset. It is a copy of a row of the
    config under another name, or, where only tuned rows are run, that row itself.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    method: type[Method]
    track: str
    tier: Tier
    start: str | None
    lender: Lender | None = None
    """Whose loss it is trained with, if not its own method's."""
    composer: Lender | None = None
    """Who puts its batches together, if not its own method, nor the order that rows share."""
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
    chosen: dict[str, Chosen] = {}
    """By dataset: what tuning chose."""
    untuned: bool = False
    """Does it stand on a board of tuned rows as it is, below them and without a rank?"""

    @property
    def original(self) -> str:
        """The row of the config that this is a copy of; any other is its own."""
        return self.copy_of or self.name

    @property
    def methods(self) -> list[type[Method]]:
        """The methods whose code its training runs: its own, and those of its loss and its batches."""
        return [method for method, _ in self.methods_given]

    @property
    def methods_given(self) -> list[tuple[type[Method], dict[str, Any]]]:
        """The same methods, each with the parameters that it is given."""
        lent = [(other.method, other.params) for other in (self.lender, self.composer) if other]
        return [(self.method, self.given), *lent]

    def composition(self, dataset: str) -> Composition | None:
        """Return how its batches on a dataset are put together; None in the order that rows share."""
        method, params = self.method, self.parameters(dataset)
        if self.composer:
            method, params = self.composer.method, self.composer.params
        return method.composition(method.Params.model_validate(params))

    @property
    def loss(self) -> str:
        """The name of its loss, by which claims pair rows: the shared one's, or that of the row whose own it is."""
        if self.lender:
            return self.lender.row
        return self.original if self.method.has_own_loss(self.track) else SHARED_LOSS

    @property
    def title(self) -> str:
        """The method's title, with the row's own name where that says more."""
        usual = {self.method.name, f"{self.method.name}_{self.track}", f"{self.method.name}_{self.tier.name}"}
        plain = self.original in usual or self.lender
        title = self.method.title if plain else f"{self.method.title} ({self.original})"
        title += f", loss of {self.lender.row}" if self.lender else ""
        return f"{title}{TUNED_TITLE}" if self.copy_of else title

    @property
    def granted(self) -> int:
        """Negatives a query that its method may give: the budget's, unless its recipe takes another number."""
        own = self.recipe_negatives
        return self.budget.negatives if own is None else own

    @property
    def recipe_negatives(self) -> int | None:
        """Negatives a query that its own recipe takes, whatever the budget says; None: as many as that says."""
        return self.method.recipe_negatives if self.track == "faithful" else None

    @property
    def gives(self) -> Gives:
        """What its negatives are beside the documents of its batch."""
        return self.method.gives(self.method.Params.model_validate(self.given), self.track)

    @property
    def gives_documents(self) -> bool:
        """Are there documents that its method chose, as a file of its negatives needs?"""
        return self.gives is Gives.DOCUMENTS

    @property
    def asks_teacher(self) -> bool:
        """Does it, or the method of its loss or of its batches, read the suite's teacher?"""
        return self._company_asks_teacher or any(
            method.asks_teacher(method.Params.model_validate(given), self.track)
            for method, given in self._choosing
            if method is self.method or method.loss_asks_teacher
        )

    @property
    def asks_beyond_pool(self) -> bool:
        """Does it ask the teacher about documents outside the dense pool?"""
        mine = self.method.asks_beyond_pool(self.method.Params.model_validate(self.given), self.track)
        return self._company_asks_teacher or (self.asks_teacher and (mine or self.lender is not None))

    @property
    def needs_teacher(self) -> bool:
        """Does it learn from the suite's teacher alone?"""
        return any(
            method.needs_teacher(method.Params.model_validate(given), self.track)
            for method, given in self._choosing
        )

    @property
    def _choosing(self) -> list[tuple[type[Method], dict[str, Any]]]:
        """The methods, with their parameters, whose negatives or loss it has; of who lends batches it has neither."""
        return self.methods_given[: 2 if self.lender else 1]

    @property
    def _company_asks_teacher(self) -> bool:
        """Does another method that puts its batches together read the teacher for that?"""
        other = self.composer
        return other is not None and other.method.company_asks_teacher(
            other.method.Params.model_validate(other.params)
        )

    @property
    def needs_graph(self) -> bool:
        """Does it, or the method of its loss, read relations between documents?"""
        return any(
            method.needs_graph(method.Params.model_validate(given), self.track)
            for method, given in self.methods_given
        )

    @property
    def needs_sources(self) -> bool:
        """Does it, or what puts its batches together, read which training set a query is from?"""
        return any(method.needs_sources for method in self.methods)

    @property
    def text_kinds(self) -> frozenset[str]:
        """The kinds of texts beside the corpus that it, or the method of its loss, reads."""
        needed = [
            method.needs_auxiliary(method.Params.model_validate(given), self.track)
            for method, given in self.methods_given
        ]
        return frozenset[str]().union(*needed)

    def parameters(self, dataset: str) -> dict[str, Any]:
        """Return all parameters of the method on a dataset."""
        chosen = self.chosen.get(dataset)
        return {**self.defaults, **(chosen.params if chosen else {})}

    def learning_rate(self, dataset: str) -> float:
        """Return the peak learning rate on a dataset."""
        chosen = self.chosen.get(dataset)
        return rate_of(self.budget.learning_rate, chosen.factor) if chosen else self.budget.learning_rate

    @property
    def processes(self) -> int:
        """Processes of one of its runs."""
        return getattr(self.budget, "processes", 1)

    @property
    def threads(self) -> int:
        """Cores of one of its runs."""
        return getattr(self.budget, "threads", 1) * self.processes

    def values(self) -> list[dict[str, Any]]:
        """Return what tuning tries of the method's main parameter besides the row's own value, as parameters.

        What the config sets itself stays as it is. Where a method names several parameters, each is tried alone.
        """
        params = self.method.Params.model_validate(self.given)
        return [
            {key: value}
            for key, tried in self.method.space(params, self.track).items()
            for value in tried.values
            if key not in self.given and value != self.defaults[key]
        ]

    def changed(self, **changes: Any) -> "Row":
        """Return the row with other fields."""
        return self.model_copy(update=changes)

    def resolved(self) -> dict[str, Any]:
        """Return what a config has to say to get this row, with every default written out."""
        place = {"method": self.method.name, "track": self.track, "tier": self.tier.name}
        other = {
            "start": self.start,
            "loss": self.lender.row if self.lender else None,
            "composer": self.composer.row if self.composer else None,
            "budget": self.own_budget,
        }
        return {**self.defaults, **place, **{key: value for key, value in other.items() if value}}


def row_of(
    name: str,
    settings: RowSettings,
    tier: str,
    budget: TrainingSettings,
    methods: Mapping[str, type[Method]],
    lender: Row | None = None,
    composer: Lender | None = None,
) -> Row:
    """Return the row of a checked config; `budget` is that of its tier, `lender` the row that its `loss` names."""
    method = methods[settings.method or name]
    own = dict(settings.budget or {})
    if lender:
        budget = lender.budget
        if (granted := lender.method.recipe_negatives) is not None:
            budget = budget.model_copy(update={"negatives": granted})
    return Row(
        name=name,
        method=method,
        track="faithful" if lender else settings.track,
        tier=TIERS[tier],
        start=settings.start,
        lender=Lender(row=lender.name, method=lender.method, params=lender.defaults) if lender else None,
        composer=composer,
        given=settings.given,
        defaults=method.Params.model_validate(settings.given).model_dump(mode="json"),
        budget=type(budget).model_validate({**budget.model_dump(), **own}),
        own_budget=own,
    )
