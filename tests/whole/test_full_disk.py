"""A disk that is full or read-only ends every kind of stage in one line, and the same call ends well afterwards."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from board_files import SETTINGS, write_differences, write_suite
from builders import Bench, tiny_model
from disks import BLOCK, Disk, mounted, partials, used
from killed_runs import same
from negmark.board.leaderboard import collate
from negmark.core.errors import UserError
from negmark.core.files import reserve, write_text
from negmark.data import prepare
from negmark.encode import embeddings, shards
from negmark.encode.encoder import TOKENS_PER_BATCH
from negmark.evaluate import evaluate
from negmark.search import candidates
from negmark.store.collection import write_table

FULL = r"can't be written: the disk is full; make room, then the same command goes on"
READ_ONLY = r"can't be written: the folder or the file is read-only; fix its permissions, then the same command goes on"
Stage = Callable[[Path], None]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", 1 << 20) as small:
        yield small


@pytest.fixture
def stages(bench: Bench, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Stage]:
    """Every kind of stage, as a call that leaves all that it writes in a folder."""

    def embed(out: Path) -> None:
        monkeypatch.setenv("NEGMARK_CACHE", str(out / "cache"))
        settings = {"model": str(encoder), "dtype": "float32", "similarity": "cosine", "output": "float32"}
        sides = {"query_length": 16, "document_length": 16, "query_prompt": "", "document_prompt": ""}
        embeddings.main(bench.dataset, json.dumps(settings | sides), out / "vectors")

    def pool(out: Path) -> None:
        settings = json.dumps({"depth": 20, "bm25_k1": 1.2, "bm25_b": 0.75})
        candidates.main("dense", bench.dataset, settings, out / "dense.safetensors", bench.vectors)

    def evaluated(out: Path) -> None:
        about = {
            "suite": "s", "dataset": "made", "row": "untrained", "title": "Untrained", "track": "baseline",
            "tier": "adapter", "params": {}, "metrics": ["nDCG@10"],
        }  # fmt: skip
        evaluate.main([out / "untrained" / "metrics.json"], json.dumps(about), bench.dataset, bench.vectors)

    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 16)
    for device in TOKENS_PER_BATCH:
        monkeypatch.setitem(TOKENS_PER_BATCH, device, 64)
    metrics, cards = write_suite(tmp_path / "made")
    write_differences(metrics, tmp_path / "made")

    def board(out: Path) -> None:
        write_text(out / "board" / "differences.csv", (tmp_path / "made" / "differences.csv").read_text())
        collate(metrics, cards, SETTINGS, out / "board")

    return {
        "dataset": lambda out: prepare.write(bench.collection, out / "dataset"),
        "embeddings": embed,
        "pools": pool,
        "train": lambda out: bench.train(out / "run", bench.spec("simans", checkpoint_steps=2)) and None,
        "evaluate": evaluated,
        "leaderboard": board,
    }


NAMES = ("dataset", "embeddings", "pools", "train", "evaluate", "leaderboard")
UNEQUAL = ("manifest.json", "embeddings.json")  # which have costs in them


def written(folder: Path) -> dict[str, bytes]:
    """The files that a stage leaves, but for the measured ones and locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in UNEQUAL and path.suffix != ".lock"
    }


@pytest.mark.parametrize(
    "share", [pytest.param(0.0, marks=pytest.mark.slow), 0.5, pytest.param(0.9, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_one_line_and_the_same_call_ends_well_afterwards(
    stages: dict[str, Stage], disk: Disk, tmp_path: Path, name: str, share: float
) -> None:
    stages[name](tmp_path / "roomy")
    whole = written(tmp_path / "roomy")
    out = disk.folder / "out"
    out.mkdir()
    disk.fill(left=int(used(tmp_path / "roomy") * share) // BLOCK * BLOCK)
    with pytest.raises(UserError, match=FULL) as caught:
        stages[name](out)
    assert str(caught.value).startswith(f"{out}/")
    assert "\n" not in str(caught.value)
    assert partials(disk.folder) == []
    done = {path: content for path, content in written(out).items() if path in whole}
    disk.empty()
    stages[name](out)
    assert written(out) == whole
    assert all(whole[path] == content for path, content in done.items()), "what was written before was whole"


@pytest.mark.parametrize("name", NAMES)
def test_a_read_only_disk_is_one_line_and_the_same_call_ends_well_afterwards(
    stages: dict[str, Stage], disk: Disk, tmp_path: Path, name: str
) -> None:
    stages[name](tmp_path / "roomy")
    out = disk.folder / "out"
    disk.read_only()
    with pytest.raises(UserError, match=READ_ONLY) as caught:
        stages[name](out)
    assert str(caught.value).startswith(f"{out}/")
    assert "\n" not in str(caught.value)
    disk.read_only(False)
    stages[name](out)
    assert written(out) == written(tmp_path / "roomy")


def test_a_training_goes_on_from_the_checkpoint_before_the_disk_was_full(
    bench: Bench, disk: Disk, tmp_path: Path
) -> None:
    spec = bench.spec("simans", checkpoint_steps=2)
    whole = bench.train(tmp_path / "roomy", spec)
    disk.fill(left=used(whole))
    out = disk.folder / "run"
    with pytest.raises(UserError, match=FULL) as caught:
        bench.train(out, spec)
    kept = [path.name for path in (out / "state" / "seed-0").iterdir()]
    assert len(kept) == 1, str(caught.value)
    disk.empty()
    run = bench.train(out, spec)
    assert json.loads((run / "manifest.json").read_text())["resumed_at"] == int(kept[0].removeprefix("step-"))
    assert same(run, whole)


def test_an_encoding_goes_on_from_the_shards_before_the_disk_was_full(
    stages: dict[str, Stage], disk: Disk, tmp_path: Path
) -> None:
    stages["embeddings"](tmp_path / "roomy")
    out = disk.folder / "out"
    disk.fill(
        left=used(tmp_path / "roomy" / "cache" / "tokens") + BLOCK + 4 * BLOCK
    )  # vectors, four shards of six
    with pytest.raises(UserError, match=FULL):
        stages["embeddings"](out)
    assert len(list((out / "cache" / "unfinished").rglob("*.shard"))) == 4
    disk.empty()
    stages["embeddings"](out)
    assert written(out) == written(tmp_path / "roomy")


def test_space_is_claimed_before_a_file_is_mapped(disk: Disk) -> None:
    path = disk.folder / "mapped"
    disk.fill(left=10 * BLOCK)
    with path.open("wb") as stream:
        stream.truncate(5 * BLOCK)
    reserve(path)
    with path.open("r+b") as stream:
        stream.truncate(50 * BLOCK)
    with pytest.raises(OSError, match="No space left on device"):
        reserve(path)


def test_an_old_table_stays_where_there_is_no_room_for_a_new_one(disk: Disk) -> None:
    path = disk.folder / "x.parquet"
    write_table(path, {"a": [1, 2, 3]})
    old = path.read_bytes()
    disk.fill()
    with pytest.raises(UserError, match=rf"x\.parquet: {FULL}"):
        write_table(path, {"a": list(range(10**5))})
    assert path.read_bytes() == old
