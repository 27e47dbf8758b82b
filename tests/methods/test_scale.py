"""The scale on which thresholds read cosines: 0 is what random pairs have, whatever range an encoder uses."""

import numpy as np
import pytest
import torch

from negmark.methods import registry
from negmark.methods.scale import CHANCE_IS_0, rescaled
from world import write_world


def test_chance_is_0_and_equality_1_by_hand():
    found = rescaled(np.array([0.7, 0.85, 1.0, 0.55, -np.inf]), 0.7)
    np.testing.assert_allclose(found, [0, 0.5, 1, -0.5, -np.inf], atol=1e-12)
    assert rescaled(torch.tensor([0.2]), -0.6).item() == pytest.approx(0.5)


def test_an_encoder_that_finds_all_texts_equal_gives_numbers():
    assert np.isfinite(rescaled(np.array([1.0, 0.9]), 1.0)).all()


@pytest.mark.parametrize("of_teacher", [False, True])
def test_chance_is_the_mean_over_all_pairs_of_training_queries_and_documents(world, of_teacher):
    services = world.run("percpos").services
    queries = np.load(world.vectors / "queries.npy")[np.unique([query for query, _ in world.positives])]
    documents = np.load(world.vectors / "documents.npy")
    expected = (queries @ documents.T).mean()
    assert services.chance(of_teacher) == pytest.approx(expected, abs=1e-6)


def test_the_teachers_chance_is_its_own(world):
    services = world.run("percpos").services
    services._teacher = np.full((60, 4), 0.5, np.float32), np.full((33, 4), 0.5, np.float32)
    assert services.chance(of_teacher=True) == pytest.approx(1)
    assert services.chance() != pytest.approx(1, abs=0.1)


def squeezed(documents, queries, labels):
    """A common direction under all texts: every cosine c becomes .7 + .3 c."""
    for side in (documents, queries):
        side[:, :-1] = np.sqrt(0.3) * side[:, :-1] / np.linalg.norm(side[:, :-1], axis=1, keepdims=True)
        side[:, -1] = np.sqrt(0.7)


def flat(documents, queries, labels):
    """The same texts without it."""
    for side in (documents, queries):
        side[:, :-1] = side[:, :-1] / np.linalg.norm(side[:, :-1], axis=1, keepdims=True)
        side[:, -1] = 0


@pytest.mark.parametrize("name", ["percpos", "rocketqa"])
def test_the_same_negatives_are_left_under_a_narrow_range_of_cosines(name, tmp_path):
    chosen = []
    for number, change in enumerate((flat, squeezed)):
        run = write_world(tmp_path / str(number), change=change).run(name)
        queries, positives = run.labels.batch(0, 0, 8)
        batch = type("Batch", (), {"step": 0, "queries": queries, "positives": positives})
        chosen.append(run.method.negatives(batch).ids)
    np.testing.assert_array_equal(*chosen)
    assert (chosen[0] >= 0).any()


def test_rows_with_thresholds_on_cosines_say_on_which_scale():
    has = {
        name for name, method in registry.available().items()
        if CHANCE_IS_0 in {note.text for note in method.footnotes}
    }  # fmt: skip
    assert has == {name for name, method in registry.available().items() if method.cosine_thresholds}
    assert has == {
        "conan",
        "mine_hard_negatives",
        "partial_fc",
        "percpos",
        "rocketqa",
        "rocketqa_recipe",
        "self_guided",
    }
