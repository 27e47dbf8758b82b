"""The committed boards: their verdicts are by the rule of now, over the claims of now."""

from pathlib import Path

import pandas as pd
import pytest

from negmark.compare.claims import RULE
from negmark.core.notation import plain
from negmark.methods import registry

ROOT = Path(__file__).parents[2] / "results" / "leaderboards"
OLDER = {
    "tiers-adapter", "tiers-static", "tiers-finetune",  # hours of training; README and boards say so
    "sentences",  # only "not shown", by any rule
}  # fmt: skip
"""Boards that were made before the rule was last changed."""
BOARDS = sorted({file.parent.name for file in ROOT.glob("*/claims.csv")} - OLDER)


@pytest.mark.parametrize("name", BOARDS)
def test_verdicts_are_by_the_rule_and_of_the_claims_of_now(name: str) -> None:
    assert plain(RULE) in (ROOT / name / "claims.md").read_text()
    found = pd.read_csv(ROOT / name / "claims.csv", keep_default_na=False)
    now = {
        (method, claim.better, claim.worse, claim.metric)
        for method, one in registry.available().items()
        for claim in one.claims
    }
    assert set(found[["claimed_by", "better", "worse", "metric"]].itertuples(index=False, name=None)) == now
