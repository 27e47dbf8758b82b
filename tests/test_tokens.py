"""Tokens of many texts lie in one flat file, as narrow as the vocabulary allows, whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from workflow.tokens import gather, read, write

CHUNKS = [[[5, 6, 7], [8, 9]], [[1, 2, 3]], [[4]]]


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
    assert tokens.rows(np.array([2, 0])).tolist() == [[1, 2, 3], [5, 6, 7]]
    assert tokens.rows(np.array([3, 4])).tolist() == [[4], [largest]]


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
    assert tokens.rows(np.array([1])).tolist() == [[8, 9]]
