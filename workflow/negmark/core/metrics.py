"""What a metric is: any measure that ir_measures knows and that a ranking and its labels give, by its name there.

The one place that says which metrics a suite has by default, how deep they look and how they are written. A dataset of
sentences has other metrics (`negmark.core.names.STS` and its tasks), correlations x 100, which no ranking gives.
"""

import difflib
import re

import ir_measures
from ir_measures import Measure, Provider, SumAgg
from ir_measures.providers.base import NOT_PROVIDED

DEFAULT = ("nDCG@10", "RR@10", "R@100")
"""The metrics of a suite that names none; the first one ranks its board."""
DEPTH = 100
"""Documents of a query that are ranked: no metric sees what stands below."""
PROVIDERS: tuple[Provider, ...] = (
    ir_measures.pytrec_eval,
    ir_measures.msmarco,
    ir_measures.judged,
    ir_measures.compat,
)
"""What computes a metric: the first of these that can. They come with ir_measures, so no value hangs on what else is
installed. Its other providers need sub-topics (pyndeval), Perl and numbers for ids (gdeval) or packages of their own
(cwl_eval, ranx), or leave queries out of the mean (accuracy)."""


def canonical(name: str) -> str:
    """Return the one way in which ir_measures writes a metric. Raises `ValueError` for one that can't be computed."""
    found = _parsed(name)
    _check_parameters(found)
    if isinstance(found.aggregator(), SumAgg):
        raise ValueError(f"the metric {found} counts things and says nothing of quality; take another")
    if not 1 <= found.params.get("cutoff", DEPTH) <= DEPTH:
        raise ValueError(f"{DEPTH} documents of a query are ranked: the cut after @ must lie in 1..{DEPTH}")
    if found.params.get("rel", 1) < 1:
        raise ValueError("a relevant document has the grade 1 or more: rel must be 1 or more")
    _try(found)
    return str(found)


def measure(name: str, relevant: int = 1) -> Measure:
    """Return the measure behind a metric's name, which takes documents of at least the grade `relevant` as relevant.

    Unless the name says `rel=` itself. nDCG has no such parameter: it takes grades as gains.
    """
    found = _parsed(name)
    asks = "rel" in found.SUPPORTED_PARAMS and "rel" not in found.params
    return found(rel=relevant) if asks and relevant != 1 else found


def provider(asked: Measure) -> Provider:
    """Return what computes a measure; `ValueError` where nothing does."""
    able = [one for one in PROVIDERS if one.supports(asked)]
    if not able:
        named = ", ".join(one.NAME for one in PROVIDERS)
        raise ValueError(f"the metric {asked} is computed by none of {named}; take another")
    return able[0]


def depth(asked: Measure) -> int:
    """Return how many documents of a ranking a measure looks at: down to its cut, or all that are ranked."""
    return DEPTH if asked.params.get("judged_only") else asked.params.get("cutoff", DEPTH)


def is_fraction(name: str) -> bool:
    """Say if a metric is a fraction in 0..1, as all of rankings are; STS and its tasks are correlations x 100."""
    return re.split(r"[(@]", name)[0] in ir_measures.measures.registry


def decimals(name: str) -> int:
    """The decimals that a metric is shown with: three of a fraction, two of a correlation x 100."""
    return 3 if is_fraction(name) else 2


def _parsed(name: str) -> Measure:
    try:
        return ir_measures.parse_measure(name)
    except NameError:
        word = re.split(r"[(@]", name)[0].strip()
        known = {alias.lower(): one.NAME for alias, one in ir_measures.measures.registry.items()}
        near = difflib.get_close_matches(word.lower(), known, n=1)
        hint = f"did you mean '{name.replace(word, known[near[0]], 1)}'? " if near else ""
        raise ValueError(f"unknown metric; {hint}allowed: {', '.join(_allowed())}") from None
    except (ValueError, TypeError):
        raise ValueError(f"not written as a metric is; write {', '.join(DEFAULT)} or P(rel=2)@5") from None


def _check_parameters(asked: Measure) -> None:
    """Refuse parameters that a measure doesn't have, wrong values, and missing ones."""
    for key in asked.params:
        if key not in asked.SUPPORTED_PARAMS:
            takes = ", ".join(asked.SUPPORTED_PARAMS) or "none"
            raise ValueError(f"the metric {asked.NAME} has no parameter {key!r}; it takes: {takes}")
    for key, about in asked.SUPPORTED_PARAMS.items():
        value = asked.params.get(key, NOT_PROVIDED)
        if value is NOT_PROVIDED and about.required:
            said = f"a number after @ ({key})" if key == asked.AT_PARAM else f"{key}=..."
            raise ValueError(f"the metric {asked.NAME} needs {said}: {about.desc}")
        if not about.validate(value) or (isinstance(value, bool) and about.dtype is not bool):
            raise ValueError(f"{key} of the metric {asked.NAME} can't be {value!r}: {about.desc}")


def _try(asked: Measure) -> None:
    """Compute a measure on a small ranking, so that one that fails does so before anything is trained."""
    program = provider(asked)
    try:
        evaluator = program.evaluator([asked], {"q": {"a": 2, "b": 1, "c": 0}})
        (value,) = (found.value for found in evaluator.iter_calc({"q": {"d": 3.0, "a": 2.0, "c": 1.0}}))
    except Exception as error:
        raise ValueError(f"the metric {asked} can't be computed: {type(error).__name__}: {error}") from None
    if not 0 <= value <= 1:
        raise ValueError(f"the metric {asked} is no fraction in 0..1: a small ranking has {value:g}")


def _allowed() -> list[str]:
    """Return the names of measures, without cuts and parameters."""
    able = {one for program in PROVIDERS for one in program.SUPPORTED_MEASURES}
    return sorted({one.NAME for one in able if one.NAME and not isinstance(one.aggregator(), SumAgg)})
