"""The speed of a machine for a suite: this one, measured, and for a suite with `gpu: true` a GPU of a stated class."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.encode.architecture import width
from negmark.encode.device import resolve_dtype
from negmark.encode.head import Head
from negmark.encode.model_files import open_config, weight_files
from negmark.encode.pretrained import find_model
from negmark.encode.recipe import recipe_of
from negmark.plan import measured
from negmark.plan.durations import LOOKUPS, Machine, RowCost
from negmark.suite.layout import Layout

GPU_FLOPS, CORES_PER_GPU = 1.2e14, 16
GPU_PRODUCTS = 3.9e12
"""Multiplications per second of a search in float32, each with an addition: two fifths of 19.5 TFLOP/s."""
STATED = (
    f"a GPU is taken to be an A100 at {GPU_FLOPS / 1e12:.0f} TFLOP/s, two fifths of its 312 in bfloat16, that "
    f"searches at {2 * GPU_PRODUCTS / 1e12:.1f} of its 19.5 in float32, with {CORES_PER_GPU} cores beside it; nothing "
    "of it was measured here"
)
BERT_BASE = 768, 110_000_000, 86_000_000
"""Dimension, parameters, and parameters that each token is multiplied with."""


@dataclass(frozen=True)
class Network:
    """What a plan needs to know about the encoder."""

    dimension: int
    parameters: int
    multiplied: int
    known: bool

    def description(self) -> str:
        """Return it in a few words."""
        size = f"{self.parameters / 1e6:,.0f} M parameters, {self.dimension} dimensions"
        return size if self.known else f"not on this machine, so taken to be of BERT-base's size: {size}"


def network_of(layout: Layout) -> Network:
    """Return the suite's encoder: from its folder, or BERT-base if a GPU suite's encoder isn't here yet."""
    try:
        model = find_model(layout.suite.encoder.model)
    except UserError:
        if not layout.suite.gpu:
            raise
        return Network(*BERT_BASE, known=False)
    shapes: dict[str, list[int]] = {}
    for file in weight_files(model):
        with safe_open(file, "numpy") as weights:
            shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    counts = {name: _product(shape) for name, shape in shapes.items()}
    looked_up = sum(count for name, count in counts.items() if "embeddings" in name)
    total = sum(counts.values())
    dimension = Head(recipe_of(model), width(open_config(model))).dimension
    return Network(dimension, total, total - looked_up, known=True)


def machine_of(layout: Layout, threads: int) -> tuple[Machine, Network]:
    """Measure this machine for a suite (GPUs are taken from the stated class); takes less than a minute."""
    settings, network = layout.suite.encoder, network_of(layout)
    modules = {
        "torch": "negmark.train.train",
        "light": "negmark.evaluate.audit",
        "figures": "negmark.board.figures.cost",
    }
    start = {kind: measured.start_seconds(module) for kind, module in modules.items()}
    table = "table" in layout.suite.start()
    lookups = measured.averaged_tokens(network.dimension) if table else LOOKUPS
    if table:
        tokens = lookups  # no transformer runs
    elif layout.suite.gpu:
        tokens = GPU_FLOPS / (2 * network.multiplied)
    else:
        length = min(settings.document_length, 128)
        model = find_model(settings.model)
        tokens = measured.encoded_tokens(model, resolve_dtype(settings.dtype), length, threads)
    indexed, scored = measured.bm25(40)
    with tempfile.TemporaryDirectory() as folder:
        texts = measured.prepared_texts(Path(folder))
        rows = _row_costs(layout, Path(folder), network.dimension)
    products = measured.products(network.dimension, threads)
    own = GPU_PRODUCTS if layout.suite.gpu else 0.0
    return Machine(start, tokens, products, texts, indexed, scored, rows, threads, own, lookups), network


def _row_costs(layout: Layout, folder: Path, dimension: int) -> dict[str, RowCost]:
    """Measure a run of every row that trains on cached vectors, on two sizes of corpus."""
    rows = [row for row in layout.suite.rows.values() if not row.tier.reads_texts]
    if not rows:
        return {}
    sizes = (measured.SMALL, measured.LARGE)
    worlds = [measured.World(folder, size, dimension) for size in sizes]
    dataset = next(dataset for dataset in layout.datasets.values() if dataset.is_home)
    costs = {}
    for row in stage.progress(rows, "calibrating"):
        spec = {**layout.specs.run(dataset, row), "seed": 0}
        one, other = (world.step(spec) for world in worlds)
        prepared, first, later = (_line(sizes, pair) for pair in zip(one, other, strict=True))
        costs[row.name] = RowCost(prepared, first, later)
    return costs


def _line(sizes: tuple[int, int], seconds: tuple[float, float]) -> tuple[float, float]:
    """Return the intercept and slope of the line through two measurements, neither below 0."""
    slope = max((seconds[1] - seconds[0]) / (sizes[1] - sizes[0]), 0.0)
    return max(seconds[0] - slope * sizes[0], 0.0), slope


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
