"""Stemmed words of many texts for BM25, as numbers in one flat array, so that millions of texts fit in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from negmark.search.scripts import BIGRAMS, ENGLISH, spaced

TEXTS_AT_A_TIME = 1 << 16
WORD = r"(?u)\b\w\w+\b"


class Lines(Sequence[list[int]]):
    """N lists of numbers, concatenated in `flat` [T]; `starts` [N + 1] is where each starts and the last one ends."""

    def __init__(self, flat: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        self.flat, self.starts = flat, starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, line: int) -> list[int]:  # type: ignore[override]
        if not 0 <= line < len(self):
            raise IndexError(line)
        return self.flat[self.starts[line] : self.starts[line + 1]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        for first in range(0, len(self), TEXTS_AT_A_TIME):
            starts = self.starts[first : first + TEXTS_AT_A_TIME + 1]
            part, places = self.flat[starts[0] : starts[-1]].tolist(), (starts - starts[0]).tolist()
            yield from (part[start:end] for start, end in pairwise(places))


@dataclass(frozen=True)
class Words:
    """Texts as word numbers, the input of bm25s. Words are numbered in alphabetical order."""

    ids: Lines
    vocab: dict[str, int] = field(default_factory=dict)

    def counts(self, vocabulary: dict[str, int]) -> sparse.csr_array:
        """Return counts [N, V] of each text's words in another vocabulary of V words, sparse."""
        number_of = np.full(len(self.vocab), -1, dtype=np.int64)
        number_of[list(self.vocab.values())] = [vocabulary.get(word, -1) for word in self.vocab]
        columns = number_of[self.ids.flat]
        rows = np.repeat(np.arange(len(self.ids)), np.diff(self.ids.starts))[columns >= 0]
        columns = columns[columns >= 0]
        ones, shape = np.ones(len(columns), np.float32), (len(self.ids), len(vocabulary))
        return sparse.coo_array((ones, (rows, columns)), shape=shape).tocsr()


def words_of(texts: Iterable[str], analyzer: str = ENGLISH) -> Words:
    """Split into lower-case words, drop English stop words, stem (Snowball): the analyser of the board's BM25.

    The analyser `bigrams` first writes spaces where other scripts have none (`negmark.search.scripts`).
    bm25s does the work on a batch of texts at a time, as its lists of lists take a hundred bytes per word. Texts from
    an iterator are never all in memory.
    """
    import bm25s
    import Stemmer

    pattern = WORD if analyzer == ENGLISH else r"\S+"
    vocabulary: dict[str, int] = {}
    parts, lengths, rest = [np.empty(0, np.int32)], [np.empty(0, np.int64)], iter(texts)
    if analyzer == BIGRAMS:
        rest = map(spaced, rest)
    while batch := list(islice(rest, TEXTS_AT_A_TIME)):
        stemmer = Stemmer.Stemmer("english")
        lines, stems = bm25s.tokenize(
            batch, token_pattern=pattern, stopwords="en", stemmer=stemmer, show_progress=False
        )
        number = np.zeros(len(stems), np.int32)
        number[list(stems.values())] = [vocabulary.setdefault(word, len(vocabulary)) for word in stems]
        lengths.append(np.fromiter(map(len, lines), np.int64, len(lines)))
        flat = np.fromiter((word for line in lines for word in line), np.int64, int(lengths[-1].sum()))
        parts.append(number[flat])
    rank = np.empty(len(vocabulary), np.int32)
    ordered = sorted(vocabulary)
    rank[[vocabulary[word] for word in ordered]] = np.arange(len(ordered))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return Words(
        Lines(rank[np.concatenate(parts)], starts), {word: place for place, word in enumerate(ordered)}
    )
