"""What a made suite plans of its rows, without running anything."""

import json
from typing import Any

from negmark.suite.checks import load
from negmark.suite.layout import Layout


def layout(methods: dict[str, Any], **more: Any) -> Layout:
    """A suite of SciFact in the adapter tier, with `inbatch` and these rows."""
    made = {"suite": "made", "datasets": {"scifact": None}, "tier": "adapter", **more}
    return Layout(load({**made, "methods": {"inbatch": None, **methods}}, "made.yaml"))


def about(planned: Layout, row: str) -> dict[str, Any]:
    """What a row's runs say of themselves."""
    told: dict[str, Any] = json.loads(planned.about.runs(planned.datasets["scifact"], planned.rows[row]))
    return told


def spec(planned: Layout, row: str) -> dict[str, Any]:
    """The spec of a row's runs."""
    return planned.specs.run(planned.datasets["scifact"], planned.rows[row])
