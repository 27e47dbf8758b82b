"""A teacher that is a row of the suite: the model of the same seed, asked as evaluation would encode with it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from builders import Bench, both_sides
from killed_runs import same
from negmark.core.files import sha256_file
from negmark.core.tier_modules import tier_module
from negmark.store.pool import CandidatePool
from negmark.train import train
from negmark.train.inputs import load_materials, models_of
from negmark.train.run import set_up
from negmark.train.step import _example, one_step
from texts import Texts


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def distilling(spec):
    return {**spec, "row": "student", "track": "faithful"}


def command(bench, folder, spec, seeds, teachers=""):
    models = [folder / f"seed-{seed}" / "model.safetensors" for seed in seeds]
    row = json.dumps({key: value for key, value in spec.items() if key != "seed"})
    pools = [f"dense={bench.pool}"]
    train.main(models, row, bench.dataset, bench.vectors, folder / "state", pools, teachers=teachers)
    return models


def test_each_seed_is_taught_by_the_model_of_its_own_seed(bench, tmp_path):
    teachers = command(bench, tmp_path / "teacher", bench.spec("dense_uniform", learning_rate=0.1), [3, 1])
    spec = distilling(bench.spec("simans"))
    together = command(bench, tmp_path / "all", spec, [3, 1], " ".join(map(str, teachers)))
    for seed, teacher, model in zip([3, 1], teachers, together, strict=True):
        (alone,) = command(bench, tmp_path / f"alone-{seed}", spec, [seed], str(teacher))
        assert same(model.parent, alone.parent)
        manifest = json.loads((model.parent / "manifest.json").read_text())
        assert manifest["data"]["teacher"] == sha256_file(teacher)
        assert manifest["counters"]["teacher_vectors"] == 12 * 16 * (1 + 1 + 4)
    (wrong,) = command(bench, tmp_path / "wrong", spec, [3], str(teachers[1]))
    assert not torch.equal(load_file(wrong)["query"], load_file(together[0])["query"])


def test_an_option_lists_a_model_for_each_seed_or_none():
    assert models_of("", 2) == [None, None]
    assert [str(model) for model in models_of("a b", 2)] == ["a", "b"]


@pytest.mark.parametrize("tier", ["adapter", "finetune"])
def test_the_teachers_vectors_are_those_by_which_its_row_is_judged(bench, tmp_path, tier):
    made = bench if tier == "adapter" else Texts(tmp_path / "texts")
    (teacher,) = command(made, tmp_path / "teacher", made.spec("random", learning_rate=0.1), [0])
    queries = np.arange(made.train_queries)
    if tier == "adapter":
        maps = load_file(teacher)
        documents, asked = (
            torch.nn.functional.normalize(torch.from_numpy(vectors) @ maps[side].T, dim=1).numpy()
            for vectors, side in ((made.document_vectors, "document"), (made.query_vectors, "query"))
        )
    else:
        about = {"encoder": made.settings}
        documents, asked = both_sides(
            tier_module("evaluate", tier), about, teacher, made.dataset, made.vectors, queries
        )
    materials = load_materials(made.dataset, made.vectors, {"dense": CandidatePool(made.pool)})
    run = set_up(distilling(made.spec("simans")), materials, None, teacher)
    one_step(run, 0, keep_scores=False)
    places = np.array([[4, -1, 7], [4, 0, 89]])
    found = run.services.teacher_documents(places)
    np.testing.assert_allclose(found.numpy(), documents[np.maximum(places, 0)], atol=1e-5)
    np.testing.assert_allclose(
        run.services.teacher_queries(np.array([5, 2, 5])).numpy(), asked[[5, 2, 5]], atol=1e-5
    )
    assert not np.allclose(found.numpy(), run.services.warmup_documents(places).numpy(), atol=1e-2)


def test_a_teacher_changes_nothing_but_what_is_asked(bench, tmp_path):
    """No stream is touched by opening it: a row that doesn't ask gives the same run."""
    (teacher,) = command(bench, tmp_path / "teacher", bench.spec("random"), [0])
    materials = load_materials(bench.dataset, bench.vectors, {"dense": CandidatePool(bench.pool)})
    histories = []
    for model in (None, teacher):
        run = set_up(bench.spec("cet"), materials, None, model)
        for step in range(3):
            one_step(run, step, keep_scores=False)
        histories.append(run.history)
    assert histories[0] == histories[1]


def test_distilling_from_a_trained_row_has_something_to_learn_and_from_the_start_nothing(bench, tmp_path):
    (teacher,) = command(bench, tmp_path / "teacher", bench.spec("dense_uniform", learning_rate=0.1), [0])
    materials = load_materials(bench.dataset, bench.vectors, {"dense": CandidatePool(bench.pool)})
    losses = []
    for model in (None, teacher):
        run = set_up(distilling(bench.spec("simans")), materials, None, model)
        losses.append(run.method.faithful_loss(_example(run, 0)).item())
    assert abs(losses[0]) < 1e-6
    assert losses[1] > 0.01
