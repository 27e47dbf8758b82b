"""What jobs leave on the disk, worked out by hand."""

import pytest

from negmark.plan.disk import Disk
from negmark.plan.durations import Encoding
from negmark.plan.jobs import Job
from negmark.plan.sizes import Size
from negmark.suite.checks import load
from negmark.suite.layout import Layout

SUITE = {
    "suite": "s",
    "datasets": {"msmarco": None},
    "encoder": {"output": "float16"},
    "training": {"steps": 100, "batch_size": 4, "negatives": 2},
    "finetune": {"steps": 10, "batch_size": 4, "negatives": 2},
    "methods": {"random": None, "random_finetune": {"method": "random", "tier": "finetune"}},
}
SIZE = Size(documents=1000, train=100, test=50, document_tokens=98.0, query_tokens=8.0, source="a hand")
HOW = Encoding(query_length=32, document_length=64, dimension=16)
LAYOUT = Layout(load(SUITE, "a test"))
KEY = LAYOUT.suite.datasets["msmarco"].collection


@pytest.mark.parametrize(
    ("kind", "wildcards", "bytes_"),
    [
        ("dataset", {"collection": KEY}, 0.45 * 4.3 * (98_000 + 1_200)),
        ("embeddings", {"collection": KEY}, 2 * 1150 * 16 * 2 + 4 * (64_000 + 1_500)),
        ("dense_pool", {"collection": KEY}, 100 * 200 * 8),
        ("bm25_pool", {"collection": KEY}, 100 * 200 * 8),
        ("warm_up", {"collection": KEY}, 4 * 70_000),
        ("train", {"dataset": "msmarco", "row": "random"}, 3 * (2 * 16 * 16 * 4 + 100 * 4 * 2 * 9)),
        ("train", {"dataset": "msmarco", "row": "random_finetune"}, 3 * (280_000 + 10 * 4 * 2 * 9)),
        ("evaluate", {"dataset": "msmarco", "row": "random"}, 3 * 50 * 1400),
        ("encode_part", {"collection": KEY}, 0),
        ("card", {"dataset": "msmarco"}, 0),
    ],
)
def test_bytes_of_stages(kind: str, wildcards: dict[str, str], bytes_: float) -> None:
    disk = Disk(LAYOUT, lambda job: SIZE, HOW, parameters=70_000)
    assert disk.left(kind, Job(kind, wildcards), seeds=3) == pytest.approx(bytes_)
