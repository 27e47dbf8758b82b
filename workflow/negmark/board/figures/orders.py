"""Two orders of the same methods: how far they agree, in words and as a panel."""

import math

import pandas as pd
from matplotlib.axes import Axes

from negmark.board.figures import points
from negmark.compare.statistics import RESAMPLES, Agreement

CHANCE = 0.05  # if a random order agrees as well more often than this, nothing is shown
OF_SEEDS = (
    f"In brackets: 95 % percentile intervals over {RESAMPLES:,} resamples of the seeds within each method. They show "
    "what other seeds would give for these methods and queries, not for other methods or queries. With few "
    "methods the interval is wide, and even a narrow one is about these few only."
)


def with_bounds(value: float, low: float, high: float) -> str:
    """`0.60 (0.47 to 0.73)`: a coefficient and its interval, if there is one."""
    if math.isnan(value):
        return "undefined"
    return f"{value:z.2f}" if math.isnan(low) else f"{value:z.2f} ({low:z.2f} to {high:z.2f})"


def coefficients(agreement: Agreement) -> str:
    """Both coefficients, each with its interval over seeds."""
    return f"Kendall's tau-b {with_bounds(*agreement[:3])}, Spearman's rho {with_bounds(*agreement[3:6])}"


def verdict(agreement: Agreement, one: str = "tier") -> str:
    """Whether the orders of two tiers (or two of `one`) agree, and whether by more than chance."""
    often = f"a random order agrees as well in {100 * agreement.chance:.1f} % of cases"
    if math.isnan(agreement.tau):
        return f"In one {one} all means are equal, which gives no order: no agreement shown."
    if math.isnan(agreement.tau_low):
        return "A method with one seed gives no interval: no agreement shown."
    if agreement.tau_low <= 0 <= agreement.tau_high:
        return "The interval of tau-b includes 0: no agreement shown."
    if agreement.tau_high < 0:
        rare = f"a random order agrees less in {100 * (1 - agreement.chance):.1f} % of cases"
        if 1 - agreement.chance > CHANCE:
            return f"The interval of tau-b is below 0, but {rare}: nothing shown beyond these few methods."
        return f"The interval of tau-b is below 0, and {rare}: the orders run against each other."
    if agreement.chance > CHANCE:
        return f"The interval of tau-b is above 0, but {often}: no agreement shown beyond these few methods."
    return f"The interval of tau-b is above 0, and {often}: the orders agree."


def draw_orders(axes: Axes, table: pd.DataFrame, values: tuple[pd.Series, pd.Series], title: str) -> None:
    """Draw one order against another, a point per method, with `title` above; `values` set the scale."""
    points.draw_points(axes, table)
    axes.set_xlim(points.limits(values[0], room=0.25))
    axes.set_ylim(points.limits(values[1]))
    axes.set_title(title)
    axes.grid()
    axes.locator_params(nbins=5)
