"""Negatives of two lists: who is drawn, how often, and what an empty list leaves to the other."""

import numpy as np
import pytest

from negmark.methods import sampling
from negmark.methods.types import NO_DOCUMENT, Batch
from world import take_steps

ROWS = 40_000


def shares_of(sources, shares, n=1):
    """How often each document is among n drawn."""
    tiled = [np.tile(np.array([each], dtype=np.int64), (ROWS, 1)) for each in sources]
    drawn = sampling.draw_from_sources(tiled, shares, n, np.random.default_rng(5))
    assert drawn.shape == (ROWS, n)
    kept = np.sort(np.where(drawn == NO_DOCUMENT, -1 - np.arange(n), drawn), axis=1)
    assert (kept[:, 1:] != kept[:, :-1]).all(), "no document twice"
    return {int(each): (drawn == each).sum() / ROWS for each in np.unique(drawn)}


def test_each_source_has_its_share_and_a_document_of_both_has_both_by_hand():
    """Of 4 and 2 documents by .4 and .6: .1 each, .3 each, and .4 of the one that both have."""
    found = shares_of([[1, 2, 3, 9], [9, 5, NO_DOCUMENT]], [0.4, 0.6])
    assert found == pytest.approx({1: 0.1, 2: 0.1, 3: 0.1, 9: 0.4, 5: 0.3}, abs=0.012)


def test_two_of_three_by_hand():
    """Chances .5, .25 and .25 in turn: the first is left out by .25 (1/4 / 3/4) 2 = 1/6."""
    found = shares_of([[1], [2, 3]], [0.5, 0.5], n=2)
    assert found == pytest.approx({1: 5 / 6, 2: 7 / 12, 3: 7 / 12}, abs=0.012)


def test_an_empty_source_leaves_its_share_to_the_other():
    assert shares_of([[NO_DOCUMENT, NO_DOCUMENT], [5, 6]], [0.9, 0.1]) == pytest.approx(
        {5: 0.5, 6: 0.5}, abs=0.012
    )


def test_all_are_drawn_once_where_there_are_too_few():
    found = shares_of([[1, 2], [2, NO_DOCUMENT]], [0.5, 0.5], n=4)
    assert found == {NO_DOCUMENT: 2.0, 1: 1.0, 2: 1.0}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_row_draws_of_both_pools_by_its_share(share, world):
    run = world.run("bm25_dense", params={"share": share}, negatives=1)
    query = np.array([6])
    dense, lexical = (world.pools[kind].candidates(query, 200)[0][0] for kind in ("dense", "bm25"))
    batch = Batch(0, np.repeat(query, 6000), np.zeros(6000, np.int64), None, None)
    drawn = run.method.negatives(batch).ids[:, 0]
    alone = [each for each in dense.tolist() if each not in lexical and each != NO_DOCUMENT]
    assert 0 < len(alone) < len(dense)
    expected = share * len(alone) / (dense != NO_DOCUMENT).sum()
    assert np.isin(drawn, alone).mean() == pytest.approx(expected, abs=0.03)


def test_a_query_without_a_word_in_common_has_dense_ones(world):
    run = world.run("bm25_dense", batch_size=30)
    ((batch, negatives),) = take_steps(run, 1)
    place = batch.queries.tolist().index(1)
    dense = world.pools["dense"].candidates(np.array([1]))[0][0]
    assert set(negatives.ids[place].tolist()) <= set(dense.tolist()) - {NO_DOCUMENT}
