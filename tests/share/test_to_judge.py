"""What a judge is asked: the prompt of each training query, and an answer that is a file of verdicts."""

import json
import re

import numpy as np
import pytest

from negmark.core.errors import UserError
from negmark.data.verdict_files import VERDICTS
from negmark.data.verdicts import judged
from negmark.share import to_judge
from world import write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def test_a_prompt_has_the_query_its_positives_and_the_best_candidates(world, tmp_path):
    pool, file = world.dataset.parent / "dense.safetensors", tmp_path / "prompts.jsonl"
    to_judge.main(pool, world.dataset, file, depth=3)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["query"] for line in lines] == [f"q{row}" for row in range(30)]
    ids, _ = world.pools["dense"].candidates(np.arange(30), 3)
    for row, line in enumerate(lines):
        assert [one["id"] for one in line["documents"]] == [f"d{document}" for document in ids[row]]
        known = sorted(document for query, document in world.positives if query == row)
        assert [one["id"] for one in line["positives"]] == [f"d{document}" for document in known]
        for one in line["documents"]:
            assert f"[{one['id']}] {one['text']}" in line["prompt"]
        assert all(one["text"] in line["prompt"] for one in line["positives"])
        assert f"Question: {line['text']}" in line["prompt"]
        assert f'{{"query": "{line["query"]}", "document"' in line["prompt"]


def test_the_prompts_words_are_those_of_the_reader():
    asked = set(re.findall(r'- "(\w+)":', to_judge.PROMPT))
    assert asked == {"better", "worse", "irrelevant"} < set(VERDICTS)


def test_answers_in_the_form_that_is_asked_for_are_a_file_of_verdicts(world, tmp_path):
    file = tmp_path / "prompts.jsonl"
    to_judge.main(world.dataset.parent / "dense.safetensors", world.dataset, file, depth=2)
    first = json.loads(file.read_text().splitlines()[0])
    form = next(line for line in first["prompt"].splitlines() if line.startswith('{"query"'))
    answers = [
        form.replace("<id of the candidate>", one["id"]).replace(
            '"better" or "worse" or "irrelevant"', '"worse"'
        )
        for one in first["documents"]
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(answers))
    table, _ = judged(tmp_path / "answers.jsonl", world.dataset)
    assert table[["query", "score"]].to_numpy().tolist() == [[0, 1], [0, 1]]


def test_without_hidden_labels_the_truth_is_not_known(world, tmp_path):
    with pytest.raises(UserError, match="it hides no positives, so the truth isn't known; add `hide:`"):
        to_judge.main(
            world.dataset.parent / "dense.safetensors", world.dataset, tmp_path / "t.jsonl", by_truth=True
        )
