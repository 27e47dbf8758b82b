"""Sentences without labels: what becomes of a text file, two views of a sentence, and STS worked by hand."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from board_files import collated, write_run
from builders import tiny_model
from negmark.board import columns
from negmark.board import prose as words
from negmark.board.figures.quality import draw_quality
from negmark.board.standings import ranked_by, standings
from negmark.core.errors import UserError
from negmark.data import sentences
from negmark.data.sts import read_task
from negmark.evaluate import sts
from negmark.methods import registry
from negmark.store import collection
from negmark.store.contents import Contents
from negmark.store.run import read_run
from negmark.suite.checks import load
from negmark.train.inputs import load_materials
from negmark.train.run import set_up
from negmark.train.step import _example, one_step
from negmark.train.tiers import finetune
from texts import TRAINING

LINES = [f"sentence number {number} of {number * 7 % 30}" for number in range(40)]
PAIRS = {"a": [("4.5", "one cat", "a cat"), ("", "not", "scored"), ("1", "a dog", "two birds")],
         "b": [("3", "rain falls", "it rains"), ("3", "snow", "sun"), ("0.2", "red", "blue")]}  # fmt: skip


def write_pairs(data: Path, task: str, files: dict[str, list[tuple[str, ...]]]) -> None:
    """Write a task's files as they are published: a line `score <tab> sentence <tab> sentence`."""
    folder = data / "sts" / task
    folder.mkdir(parents=True)
    for name, rows in files.items():
        (folder / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))


def settings(source: object, **changes: object) -> dict[str, object]:
    """A dataset's settings, as the rule hands them over."""
    common = {"name": "made", "kind": "sentences", "source": str(source), "documents": None, "seed": 0}
    return {**common, "sts": ["mine"], **changes}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with one task, and a file of sentences with two duplicates and two blank lines."""
    folder = tmp_path / "data"
    write_pairs(folder, "mine", PAIRS)
    monkeypatch.setenv("NEGMARK_DATA", str(folder))
    lines = [*LINES[:3], "", *LINES[3:], LINES[0], "  ", f" {LINES[1]} "]
    (folder / "own.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_tasks_alone_need_no_sentences(data, tmp_path):
    """A dataset of sentences that is evaluated alone has the pairs and nothing to train on."""
    sentences.main(
        json.dumps({"name": "made", "source": "made", "sts": ["mine"], "test_only": True}), tmp_path
    )
    assert collection.column(tmp_path, collection.DOCUMENTS, "id") == []
    assert sts.read_pairs(tmp_path).gold.tolist() == [4.5, 1.0, 3.0, 3.0, 0.2]
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["documents"], card["regime"]) == (0, "zero-shot")


class Views:
    """The made sentences prepared on disk, with the vectors of a tiny transformer."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.dataset, self.vectors, model = (
            folder / "dataset",
            folder / "vectors",
            tiny_model(folder / "model"),
        )
        sentences.main(json.dumps(settings(data / "own.txt")), self.dataset)
        lengths = {"query_length": 16, "document_length": 16, "query_prompt": "", "document_prompt": ""}
        self.encoder = {"model": str(model), "dtype": "float32", "similarity": "cosine", **lengths}
        tokens = finetune.tokens_of_sides(self.dataset, json.dumps(self.encoder))
        self.vectors.mkdir()
        for side, name in (("document", "documents"), ("query", "queries")):
            np.save(self.vectors / f"{name}.npy", finetune.Encoder(model, "float32").encode(tokens[side]))

    def run(self, method: str, params: dict[str, object] | None = None, **more: object):
        kind = registry.available()[method]
        given = kind.Params.model_validate(params or {}).model_dump(mode="json")
        spec = {"row": method, "method": method, "params": given, "seed": 0, "tier": "finetune"}
        spec |= {"encoder": self.encoder, "training": TRAINING, **more}
        return set_up(spec, load_materials(self.dataset, self.vectors, {}))


@pytest.fixture
def prepared(data, tmp_path) -> Views:
    return Views(data, tmp_path)


def test_duplicates_and_blank_lines_are_left_out_and_counted(data):
    made, columns, card = sentences.prepare(settings(data / "own.txt"))
    assert made.texts == LINES
    assert made.document_ids == [f"s{line}" for line in [1, 2, 3, *range(5, 42)]]
    assert made.queries[:40] == LINES
    assert made.qrels["train"].tolist() == [[row, row, 1] for row in range(40)]
    assert (card["documents"], card["duplicates"], card["blank_lines"]) == (40, 2, 2)
    assert card["sts"] == {"mine": 5}
    assert made.queries[40:44] == ["one cat", "a cat", "a dog", "two birds"]
    assert columns["slice"] == [None] * 40 + ["mine"] * 10
    assert columns["score"] == [None] * 40 + [4.5, 4.5, 1, 1, 3, 3, 3, 3, 0.2, 0.2]


def test_a_packed_file_and_a_draw(data):
    packed = data / "own.txt.gz"
    packed.write_bytes(gzip.compress((data / "own.txt").read_bytes()))
    whole, columns, card = sentences.prepare(settings(data / "own.txt"))
    again, _, other = sentences.prepare(settings(packed))
    assert again.texts == whole.texts
    assert other["sha256"] == card["sha256"]
    few, columns, card = sentences.prepare(settings(packed, documents=9))
    assert len(few.texts) == 9
    assert few.texts == [text for text in whole.texts if text in set(few.texts)]
    assert few.texts != whole.texts[:9]
    assert few.texts != sentences.prepare(settings(packed, documents=9, seed=1))[0].texts
    assert (card["documents"], card["documents_full"], len(columns["slice"])) == (9, 40, 9 + 10)


def test_a_known_name_is_looked_for_in_the_data_folder(data):
    with pytest.raises(
        UserError, match=r"^wiki-sentences: 0 files .*download_wiki\.sh of SimCSE .*NEGMARK_DATA"
    ):
        sentences.prepare(settings("wiki-sentences"))
    (data / "wiki-sentences").mkdir()
    (data / "own.txt").rename(data / "wiki-sentences" / "some.head.txt")
    made, _, card = sentences.prepare(settings("wiki-sentences"))
    assert made.texts == LINES
    assert (card["dataset"], card["licence"]) == ("wiki-sentences", "Wikipedia CC BY-SA")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\none\n\n", r"bad\.txt: 1 distinct sentences; expected a \.txt or \.txt\.gz file with one"),
        (b"one\n\xff\xfe\n", r"bad\.txt: line 2: not UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_in_one_line(data, content, message):
    (data / "bad.txt").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        sentences.prepare(settings(data / "bad.txt"))
    assert "\n" not in str(error.value)


def test_a_damaged_packed_file_is_named(data):
    (data / "bad.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"bad\.txt\.gz: damaged"):
        sentences.prepare(settings(data / "bad.txt.gz"))


@pytest.mark.parametrize("line", ["4.5\tone", "high\tone\ttwo", "nan\tone\ttwo", "4.5\t\ttwo"])
def test_a_line_that_is_no_pair_is_named(data, line):
    write_pairs(data, "bad", {"x": [("1", "one", "two"), tuple(line.split("\t"))]})
    with pytest.raises(
        UserError, match=r"x\.tsv: line 2: expected a score and two sentences, .* fields 1, 2 and 3"
    ):
        read_task("bad", data)


def test_a_missing_task_says_where_it_belongs(data):
    with pytest.raises(UserError, match=r"^sts: there is no .*sts/sts12/\*\.tsv .*NEGMARK_DATA"):
        read_task("sts12", data)
    with pytest.raises(UserError, match=r"<data>/sts/sts12/\*\.tsv"):
        read_task("sts12", None)


def test_the_published_forms_are_read(tmp_path):
    for task, name, lines in (
        ("stsbenchmark", "sts-test.csv", ["main\tX\t2012\t0024\t2.500\tA girl.\tA boy.\textra"]),
        (
            "sick2014",
            "SICK_test_annotated.txt",
            ["pair_ID\tA\tB\tscore\tx", "6\tA girl.\tA boy.\t2.5\tNEUTRAL"],
        ),
    ):
        (tmp_path / "sts" / task).mkdir(parents=True)
        (tmp_path / "sts" / task / name).write_text("\r\n".join(lines) + "\r\n")
        assert [pair[1:] for pair in read_task(task, tmp_path)] == [(2.5, "A girl.", "A boy.")]


def test_spearman_by_hand_with_ties():
    """Ranks of the cosines 1 2.5 2.5 4, of the scores 1.5 1.5 3 4: r = 3.75 / sqrt(4.5 * 4.5)."""
    found, gold = np.array([0.1, 0.5, 0.5, 0.9]), np.array([1.0, 1.0, 2.0, 5.0])
    values = sts.correlations(found, gold, ["t"] * 4)
    assert values == {"STS": values["t"], "t": pytest.approx(100 * 3.75 / 4.5)}


def test_a_task_is_one_correlation_and_sts_their_mean():
    found = np.array([0.1, 0.2, 0.3, 0.4, 0.9, 0.1])
    gold = np.array([1.0, 2.0, 3.0, 4.0, 0.0, 5.0])
    values = sts.correlations(found, gold, ["up"] * 4 + ["down"] * 2)
    assert values == pytest.approx({"STS": 0.0, "up": 100.0, "down": -100.0})
    with pytest.raises(UserError, match=r"^down: all similarities or all scores are equal"):
        sts.correlations(np.array([0.1, 0.2, 0.4, 0.4]), gold[:4], ["up"] * 2 + ["down"] * 2)


def test_the_untrained_encoder_is_judged_by_its_cosines(prepared, tmp_path):
    about = {"dataset": "made", "row": "untrained", "title": "x", "track": "baseline"}
    sts.main([tmp_path / "out" / "metrics.json"], json.dumps(about), prepared.dataset, prepared.vectors)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    vectors = np.load(prepared.vectors / "queries.npy")[40:].astype(np.float64)
    cosines = [float(vectors[row] @ vectors[row + 1]) for row in range(0, 10, 2)]
    expected = 100 * stats.spearmanr(cosines, [4.5, 1, 3, 3, 0.2]).statistic
    assert metrics["slices"] == {
        "all": {"queries": 5, "STS": pytest.approx(expected), "mine": pytest.approx(expected)}
    }
    lines = gzip.decompress((tmp_path / "out" / "run.trec.gz").read_bytes()).decode().splitlines()
    first = lines[0].split()
    assert first[:4] == ["mine/a/1/a", "Q0", "mine/a/1/b", "1"]
    assert float(first[4]) == pytest.approx(cosines[0], abs=1e-6)
    table = collection.column(tmp_path / "out", "per_query.parquet", "gold")
    assert table == [4.5, 1, 3, 3, 0.2]


def test_a_trained_run_is_judged_by_its_own_weights(prepared, tmp_path):
    from safetensors.torch import save_file

    run = prepared.run("inbatch")
    for step in range(4):
        one_step(run, step, keep_scores=False)
    folder = tmp_path / "row" / "seed-3"
    folder.mkdir(parents=True)
    save_file(
        {name: value.contiguous() for name, value in run.encoder.weights().items()},
        folder / "model.safetensors",
    )
    about = {"dataset": "made", "row": "simcse", "title": "x", "track": "controlled", "tier": "finetune"}
    sts.main(
        [folder / "metrics.json"],
        json.dumps({**about, "encoder": prepared.encoder}),
        prepared.dataset,
        tmp_path,
    )
    rows = np.arange(40, 50)
    vectors = run.encoder._all("query", rows).double().numpy()
    cosines = (vectors[::2] * vectors[1::2]).sum(axis=1)
    found = collection.column(folder, "per_query.parquet", "cosine")
    assert found == pytest.approx(cosines.tolist(), abs=1e-5)
    start = np.load(prepared.vectors / "queries.npy")[rows]
    assert not np.allclose(found, (start[::2] * start[1::2]).sum(axis=1), atol=1e-3)
    assert json.loads((folder / "metrics.json").read_text())["seed"] == 3


def test_in_batch_negatives_on_two_views_are_simcse_by_hand(prepared):
    """Loss of row i: -log exp(cos(z_i, z'_i) / t) / sum_j exp(cos(z_i, z'_j) / t), z' another dropout of the text."""
    run = prepared.run("inbatch")
    run.encoder.begin(0, 0)
    example = _example(run, 0)
    batch = example.batch
    assert np.array_equal(batch.queries, batch.positives)
    first, second = (side.detach().double().numpy() for side in (batch.query_vectors, batch.positive_vectors))
    assert np.abs(first - second).max() > 1e-2
    cosines = first @ second.T / 0.05
    expected = np.mean(np.log(np.exp(cosines).sum(axis=1)) - np.diag(cosines))
    assert run.method.loss(example).item() == pytest.approx(expected, rel=1e-5)
    still = prepared.run("inbatch", training={**TRAINING, "dropout": 0.0})
    still.encoder.begin(0, 0)
    same = _example(still, 0).batch
    assert torch.equal(same.query_vectors, same.positive_vectors)


@pytest.mark.parametrize("suspected_by", ["positive", "query"])
def test_clusterns_is_faithful_on_views(prepared, suspected_by):
    """Every view against all second views and all B centroids, and BML over suspects of the named view."""
    params = {
        "clusters": 3,
        "start_by": "cosine",
        "start_cosine": 1.0,
        "bml_weight": 0.5,
        "suspected_by": suspected_by,
    }
    run = prepared.run("clusterns", params, track="faithful")
    for step in range(3):
        one_step(run, step, keep_scores=False)
    assert len(run.method.centroids) == 3
    run.encoder.begin(0, 3)
    example = _example(run, 3)
    first, second = (
        side.detach().double() for side in (example.batch.query_vectors, example.batch.positive_vectors)
    )
    centroids = torch.nn.functional.normalize(run.method.centroids.double(), dim=1)
    hard = centroids[(first @ centroids.T).topk(2, dim=1).indices[:, 1]]
    cosines = first @ second.T
    logits = torch.cat([cosines, first @ hard.T], dim=1) / 0.05
    cluster = ((first if suspected_by == "query" else second) @ centroids.T).argmax(dim=1)
    suspects = (cluster[:, None] == cluster[None]) & ~torch.eye(8, dtype=torch.bool)
    gaps = (cosines - cosines.diagonal()[:, None]) * suspects
    margins = gaps.clamp(min=0) + (-gaps - 0.3).clamp(min=0)
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(8)) + 0.5 * margins.mean()
    assert suspects.any()
    assert run.method.faithful_loss(example).item() == pytest.approx(expected.item(), rel=1e-5)


def judged(folder: Path, method: str, seed: int | None, **tasks: float) -> Path:
    """One metrics.json of a dataset of sentences: its tasks as given."""
    values = {"queries": 50, "STS": sum(tasks.values()) / len(tasks), **tasks}
    tier = {"tier": "finetune"} if seed is not None else {}
    return write_run(
        folder, "wiki", method, seed, {}, slices={"all": values}, metrics=["STS", *tasks], **tier
    )


@pytest.fixture
def board(tmp_path) -> list[Path]:
    """SimCSE is first by STS, ClusterNS by its one task b."""
    return [
        judged(tmp_path, "untrained", None, a=60.0, b=61.0),
        *(judged(tmp_path, "simcse", seed, a=80.0 + seed, b=70.0) for seed in (0, 1)),
        *(judged(tmp_path, "clusterns", seed, a=60.0 + seed, b=75.0) for seed in (0, 1)),
    ]


CARD = {
    "name": "wiki", "dataset": "wiki",
    "kind": "sentences", "source": "own file x.txt", "licence": "x", "sha256": "0" * 64, "documents": 9,
    "documents_full": 9, "duplicates": 2, "blank_lines": 1, "queries": {"train": 9}, "regime": "unsupervised",
    "sts": {"a": 30, "b": 20},
}  # fmt: skip


def test_sentences_are_ranked_by_sts(board, tmp_path):
    frame = standings([read_run(path) for path in board], {"wiki": CARD})
    assert ranked_by(frame) == "STS"
    assert frame["row"].tolist() == ["simcse", "clusterns", "untrained"]
    assert frame["STS/all/mean"].tolist() == [75.25, 67.75, 60.5]
    prose = words.sentences(frame, {"reference": "clusterns"})
    assert prose == [
        "simcse is first on the 50 STS pairs with STS 75.25 ±3.18: "
        "+7.50 against clusterns (67.75) and +14.75 against untrained (60.50). "
        "Its runs take as long as those of clusterns."
    ]
    assert next(column.group for column in columns.columns(frame)) == "STS"
    card = tmp_path / "card.json"
    card.write_text(json.dumps(CARD))
    text = collated(board, [card], tmp_path / "board")
    assert "wiki: STS, best first" in text
    assert (
        "9 of 9 sentences without labels (2 duplicates and 1 blank lines left out); STS pairs: a 30, b 20;"
        in text
    )
    assert "nDCG" not in text
    page = (tmp_path / "board" / "leaderboard.html").read_text()
    assert "75.25 ±3.18" in page
    markdown = (tmp_path / "board" / "leaderboard.md").read_text()
    assert "**75.25 ±3.18**" in markdown
    assert "ranked by STS instead" in markdown
    draw_quality([read_run(path) for path in board], "wiki", tmp_path / "figures")
    assert (
        "STS on wiki by slice of the test pairs (all 50)"
        in (tmp_path / "figures" / "wiki-quality.txt").read_text()
    )


def test_a_board_may_mix_both_kinds(board, tmp_path):
    retrieval = [write_run(tmp_path, "scifact", "simcse", 0, {"all": 0.5, "unseen": 0.4}, tier="finetune")]
    runs = [read_run(path) for path in [*board, *retrieval]]
    other = {**CARD, "name": "scifact", "regime": "standard"}
    frame = standings(runs, {"wiki": CARD, "scifact": other})
    by = {name: ranked_by(frame[frame["dataset"] == name]) for name in ("wiki", "scifact")}
    assert by == {"wiki": "STS", "scifact": "nDCG@10"}
    groups = {column.group for column in columns.columns(frame[frame["dataset"] == "scifact"])}
    assert groups == {"nDCG@10", "RR@10", "R@100", "cost"}


def test_sentences_have_no_lexical_baseline():
    listed = Contents(
        suite="s", cards={"wiki": "c", "scifact": "d"}, rows=["simcse"], seeds=[0], sentences=["wiki"]
    )
    assert [path.name for path in listed.baselines("wiki")] == ["untrained"]
    assert [path.name for path in listed.baselines("scifact")] == ["untrained", "bm25_search"]


def mistake(**changes: object) -> str:
    suite = {"suite": "s", "tier": "finetune", "datasets": {"wiki-sentences": {"kind": "sentences"}}}
    with pytest.raises(UserError) as error:
        load({**suite, "methods": {"inbatch": None}, **changes}, "s.yaml")
    return str(error.value).removeprefix("s.yaml: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tier": "adapter"}, "datasets.wiki-sentences.kind: inbatch is of the tier adapter, which has no dropout"),
        ({"datasets": {"wiki-sentences": None}}, "datasets.wiki-sentences: wiki-sentences has sentences without "),
        ({"datasets": {"scifact": {"kind": "sentences"}}},
         "datasets.scifact: unknown sentences 'scifact'; allowed: wiki-sentences, or an existing .txt "),
        ({"datasets": {"mine": {"kind": "sentences", "source": "./none.txt"}}},
         "datasets.mine: unknown sentences './none.txt'; "),
        ({"datasets": {"scifact": {"sts": ["sts12"]}}}, "datasets.scifact.sts: a dataset of the kind retrieval "),
        ({"datasets": {"wiki-sentences": {"kind": "sentences", "regime": "strict"}}},
         "datasets.wiki-sentences.regime: a dataset of the kind sentences has no such setting; allowed: documents, "),
        ({"datasets": {"wiki-sentences": {"kind": "sentences", "sts": []}}},
         "datasets.wiki-sentences.sts: list should have at least 1 item"),
    ],
)  # fmt: skip
def test_mistakes_in_a_suite_of_sentences(changes, message):
    assert mistake(**changes).startswith(message)


def test_no_parameter_hides_behind_a_key_of_a_row():
    from negmark.suite.rows import RowSettings

    for name, kind in registry.available().items():
        assert not RowSettings.model_fields.keys() & kind.Params.model_fields.keys(), name


def test_adaptations_of_clusterns_are_those_of_the_dataset():
    from negmark.suite.layout import Layout

    suite = load(
        {
            "suite": "s",
            "tier": "finetune",
            "datasets": {"wiki-sentences": {"kind": "sentences"}, "scifact": None},
            "methods": {"clusterns": {"track": "faithful"}},
        },
        "s.yaml",
    )
    layout = Layout(suite)
    footnotes = {
        name: " ".join(json.loads(layout.about.runs(dataset, layout.rows["clusterns"]))["adaptations"])
        for name, dataset in layout.datasets.items()
    }
    assert "supervised" in footnotes["scifact"]
    assert "MLP" not in footnotes["scifact"]
    assert "supervised" not in footnotes["wiki-sentences"]
    assert "MLP" in footnotes["wiki-sentences"]


REAL = Path(os.environ.get("NEGMARK_DATA", ""), "sts")
PUBLISHED_PAIRS = {
    "sts12": 3108, "sts13": 1500, "sts14": 3750, "sts15": 3000, "sts16": 1186, "stsbenchmark": 1379, "sick2014": 4927,
}  # fmt: skip


@pytest.mark.skipif(not REAL.is_dir(), reason="NEGMARK_DATA has no STS files")
@pytest.mark.parametrize("task", PUBLISHED_PAIRS)
def test_real_tasks_have_the_published_pairs_and_scipys_correlation(task):
    pairs = read_task(task, REAL.parent)
    assert len(pairs) == PUBLISHED_PAIRS[task]
    gold = np.array([pair.score for pair in pairs])
    words = [(set(pair.first.lower().split()), set(pair.second.lower().split())) for pair in pairs]
    overlap = np.array([len(one & other) / len(one | other) for one, other in words])
    ranks = np.corrcoef(stats.rankdata(overlap), stats.rankdata(gold))[0, 1]
    found = sts.correlations(overlap, gold, [task] * len(pairs))["STS"]
    assert found == pytest.approx(100 * ranks)
    assert found > 30
