"""A gate of a trained row is planned from its runs, and holds the board back like any other."""

from pathlib import Path

from tiny import SUITE, planned, write_suite

GATE = {
    "dataset": "pydoc", "metric": "nDCG@10", "expected": 0.5, "tolerance": 0.4, "tokenizer": "any", "fields": "all",
    "self_ids": "none", "source": "nobody",
}  # fmt: skip


def test_gates_of_rows_and_of_baselines_stand_side_by_side(bare: Path) -> None:
    gates = {
        "words": {**GATE, "system": "bm25_search", "k1": 1.2, "b": 0.75},
        "row": {**GATE, "system": "trained", "row": "random"},
    }
    write_suite(bare, {**SUITE, "gates": gates})
    told = planned(bare, "--printshellcmds")
    text = told.stdout + told.stderr
    runs = " ".join(f"results/runs/tiny/pydoc/random/seed-{seed}/metrics.json" for seed in SUITE["seeds"])
    assert f"negmark.evaluate.gate_of_runs {runs} --output results/gates/tiny/row/metrics.json" in text
    assert "negmark.evaluate.evaluate results/gates/tiny/words/metrics.json" in text
    assert (
        "negmark.evaluate.gates results/gates/tiny/words/metrics.json results/gates/tiny/row/metrics.json"
        in text
    )
