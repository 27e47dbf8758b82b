"""Results that Snakemake should make again although they exist: those truncated after they were written."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from negmark.core.files import read_json, write_json
from negmark.core.integrity import damage, damaged
from negmark.core.names import METRICS_FILE, PER_QUERY, RUN
from negmark.store.vectors import SIDES
from negmark.suite.layout import Layout

NOTE = Path(".snakemake/negmark-damaged.json")

TRAINED = (
    "model.safetensors", "history.parquet", "negatives.parquet", "scores.parquet", "dev.parquet", "manifest.json",
)  # fmt: skip
EVALUATED = (METRICS_FILE, PER_QUERY, RUN)
BOARD = (
    "leaderboard.csv", "leaderboard.md", "leaderboard.tex", "leaderboard.html", "summary.txt", "differences.csv",
    "claims.csv", "claims.md",
)  # fmt: skip


def damaged_results(layout: Layout, note: Path = NOTE) -> list[str]:
    """Return the results of a suite to make again even if they exist, and print a line for each.

    Repairs noted by an earlier run count until they are done: Snakemake removes a file before making it again, and if
    killed in between, it doesn't miss a file that nothing depends on.
    """
    paths = [*results(layout), *board(layout)]
    truncated = damaged(paths)
    noted = set(read_json(note)) if note.is_file() and not damage(note) else set()
    lost = {
        path: "missing: an earlier run was killed while rebuilding it"
        for path in paths
        if str(path) in noted and not path.is_file()
    }
    for path, trouble in {**truncated, **lost}.items():
        print(f"damaged: {path}: {trouble}; to be made again, with what depends on it", file=sys.stderr)
    return [str(path) for path in {**truncated, **lost}]


def note_repairs(paths: Sequence[str], note: Path = NOTE) -> None:
    """Record which results a run makes again."""
    if paths or note.is_file():
        write_json(note, sorted(paths))


def results(layout: Layout) -> list[Path]:
    """Return the files of a suite's stages up to the evaluation of its runs."""
    contents, paths = layout.contents, layout.paths
    homes = [dataset for dataset in layout.datasets.values() if dataset.is_home]
    folders: dict[tuple[str, ...], Iterable[Path | str]] = {
        ("embeddings.json", *SIDES): [
            Path(file).parent for files in layout.vector_facts().values() for file in files.values()
        ],
        TRAINED: contents.runs(*contents.trained()),
        EVALUATED: [
            *(Path(file).parent for file in contents.files(METRICS_FILE)),
            *(Path("results/gates", contents.suite, gate) for gate in layout.suite.gates),
        ],
    }
    pools = {
        path
        for dataset in homes
        for row in layout.rows.values()
        for path in paths.pools(dataset, row).values()
    }
    warm = [path for dataset in homes for path in paths.warmup_of(dataset)]
    prepared = [file for dataset in layout.datasets.values() for file in paths.collection_files(dataset)]
    tried = [*layout.trials("rates"), *layout.grids(), *layout.trials("values")]
    shared = [Path(path) for path in [*prepared, *sorted(pools), *warm, *tried]]
    return [
        *shared,
        *(Path(folder, name) for names, places in folders.items() for folder in places for name in names),
    ]


def board(layout: Layout) -> Iterable[Path]:
    """Return the files of a suite's board, except figures."""
    if not layout.suite.rows or layout.untuned:
        return []
    return [*map(Path, layout.targets()), *(Path(layout.paths.board, name) for name in BOARD)]
