"""What trials decide, on made-up tables worked by hand."""

import json
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from negmark.compare import tune
from negmark.core.errors import UserError
from negmark.core.files import write_json
from negmark.evaluate import rate_grid
from negmark.store.trials import Trial, Trials, write_trials
from negmark.suite.tuning import read_tuned

QUERIES = 40


def trials(factor: float, mean: float, spread: float = 0.0, **params: float) -> list[Trial]:
    """Two seeds; half of the queries are above the mean, half below."""
    values = [mean + spread * (1 if query % 2 else -1) for query in range(QUERIES)]
    return [Trial(factor=factor, params=params, seed=seed, values=values) for seed in (1000, 1001)]


def choice(*found: Trial, grid: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)):
    return tune.choice(Trials(slice="all", trials=list(found)), list(grid), 1e-3, "row", "hash")


def test_a_winner_is_held_against_the_row_as_it_is() -> None:
    """Differences 0.1 +- 0.04 over 40 queries, alike for both seeds: the interval is Student's over queries."""
    found = choice(*trials(1.0, 0.4), *trials(0.5, 0.3), *trials(2.0, 0.5, 0.04))
    assert (found.factor, found.params, found.learning_rate) == (2.0, {}, 2e-3)
    assert (found.dev, found.default) == (pytest.approx(0.5), pytest.approx(0.4))
    half = stats.t.ppf(0.975, QUERIES - 1) * 0.04 / (QUERIES - 1) ** 0.5
    assert found.low == pytest.approx(0.1 - half, abs=1e-4)
    assert found.high == pytest.approx(0.1 + half, abs=1e-4)
    assert (found.within_noise, found.at_edge) == (False, False)
    assert (found.trials, found.failed, found.seeds, found.queries) == (3, 0, 2, QUERIES)


def test_a_winner_within_noise_is_chosen_and_told() -> None:
    found = choice(*trials(1.0, 0.4), *trials(2.0, 0.41, 0.3))
    assert found.factor == 2.0
    assert found.within_noise
    assert found.low < 0 < found.high


def test_the_row_as_it_is_has_no_difference_from_itself() -> None:
    found = choice(*trials(0.5, 0.4), *trials(1.0, 0.4), *trials(1.0, 0.4, a=1.0))
    assert found.is_default
    assert (found.low, found.high, found.within_noise) == (None, None, False)


def test_the_edge_is_that_of_the_grown_grid() -> None:
    found = [trial for rate in (0.5, 1.0, 2.0, 4.0) for trial in trials(rate, rate / 10)]
    assert choice(*found, grid=(0.5, 1.0, 2.0, 4.0)).at_edge
    assert not choice(*found, grid=(0.5, 1.0, 2.0, 4.0, 8.0)).at_edge


def test_a_default_that_diverged_is_beaten_by_what_runs() -> None:
    broken = [Trial(factor=1.0, params={}, seed=seed, failure="diverged") for seed in (1000, 1001)]
    found = choice(*broken, *trials(0.5, 0.3), *trials(0.25, 0.2), grid=(0.25, 0.5, 1.0))
    assert (found.factor, found.default, found.failed, found.low) == (0.5, None, 1, None)


def test_the_grid_grows_for_all_rows_where_one_is_at_its_edge(tmp_path: Path) -> None:
    tables = {"calm": (0.3, 0.5, 0.4), "eager": (0.3, 0.4, 0.5)}
    for row, means in tables.items():
        tried = [
            trial for rate, mean in zip((0.5, 1.0, 2.0), means, strict=True) for trial in trials(rate, mean)
        ]
        write_trials(tmp_path / row / "rates.json", Trials(slice="all", trials=tried))
    rate_grid.main([tmp_path / row / "rates.json" for row in tables], tmp_path / "grid.json")
    assert json.loads((tmp_path / "grid.json").read_text()) == {
        "rates": [0.5, 1.0, 2.0, 4.0, 8.0],
        "best": {"calm": 1.0, "eager": 2.0},
    }


def test_the_stage_writes_what_was_chosen_and_every_trial(tmp_path: Path) -> None:
    values, grid = tmp_path / "simans" / "values.json", tmp_path / "grid.json"
    tried = [*trials(0.5, 0.3), *trials(1.0, 0.4), *trials(2.0, 0.1), *trials(1.0, 0.6, a=2.0)]
    write_trials(values, Trials(slice="unseen", trials=tried))
    write_json(grid, {"rates": [0.5, 1.0, 2.0], "best": {"simans": 1.0}})
    task = {
        "suite": "s", "metric": "nDCG@10", "seeds": [1000, 1001], "rates": {"simans": 1e-3}, "grids": {"d": str(grid)},
        "under": {"d": {"simans": "hash"}}, "trials": {"d": {"simans": str(values)}},
    }  # fmt: skip
    tune.main(json.dumps(task), tmp_path / "tuned.json")
    tuned = read_tuned(tmp_path / "tuned.json")
    chosen = tuned.datasets["d"]["simans"]
    assert (chosen.factor, chosen.params, chosen.dev) == (1.0, {"a": 2.0}, pytest.approx(0.6))
    assert (tuned.rates, tuned.seeds) == ({"d": [0.5, 1.0, 2.0]}, [1000, 1001])
    assert (chosen.slice, chosen.under) == ("unseen", "hash")
    table = pd.read_csv(tmp_path / "trials.csv")
    assert table[["dataset", "row", "factor", "params", "seed"]].iloc[-1].tolist() == [
        "d", "simans", 1.0, '{"a":2.0}', 1001
    ]  # fmt: skip
    assert len(table) == 8
    task["trials"] = {"d": {}}
    with pytest.raises(
        UserError, match="s: nothing to tune; name rows of the tiers adapter, static or finetune"
    ):
        tune.main(json.dumps(task), tmp_path / "tuned.json")
