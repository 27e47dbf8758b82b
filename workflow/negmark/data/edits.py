"""Edits of a document, so that it no longer answers its query: by rule, without a model, the same bytes every time.

Five kinds, of which each may apply to a document or not:

- `entity`: a span of names is replaced by another of the corpus of as many words. A word is a name if it has a capital
  letter and is nowhere in the corpus in lower case. A span that shares a word with the query comes first.
- `number`: a numeral is replaced by another one of the corpus.
- `negation`: by a list of words, an adaptation of SNCSE's rule, which has a tagger (Wang et al. 2022, arXiv 2201.05979,
  generate_soft_negative_samples.py): "not" is taken out where there is one, else put behind the first auxiliary, else
  "Not" in front.
- `drop`: the sentence that shares most words with the query is taken out, if another is left.
- `splice`: that sentence is replaced by one of another document, that BM25 finds best for the query.

What is drawn is decided by `seed_of`. A title is a sentence of its own.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from negmark.store.copies import normalised

Item = TypeVar("Item")
SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
NUMERAL = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")
NOT = re.compile(r"\bnot\s+", re.IGNORECASE)
AUXILIARY = re.compile(
    r"\b(?:am|is|are|was|were|be|do|does|did|can|could|will|would|shall|should|may|might|must)\b",
    re.IGNORECASE,
)
SMALLEST = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "had", "has", "have",
    "he", "her", "his", "i", "if", "in", "into", "is", "it", "its", "my", "no", "not", "of", "on",
    "or", "our", "she", "so", "such", "than", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "to", "was", "we", "were", "what", "when", "which", "who", "will",
    "with", "you", "your",
})  # fmt: skip
"""Words that say nothing about what a text is about: those of Lucene's list, and pronouns."""


def seed_of(query: str, document: str, kind: str, number: int) -> int:
    """Return what decides the draws of an edit: the first 8 bytes of sha256(query id|document id|kind|number)."""
    content = f"{query}|{document}|{kind}|{number}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


def terms(text: str) -> frozenset[str]:
    """Return the words of a text in lower case, without those that say nothing."""
    return frozenset(WORD.findall(text.lower())) - SMALLEST


def jaccard(one: str, other: str) -> float:
    """Return the share of the distinct words of both texts, in lower case, that are in both; 1 without any word."""
    left, right = (set(WORD.findall(text.lower())) for text in (one, other))
    return len(left & right) / len(left | right) if left | right else 1.0


def sentences(title: str, text: str) -> list[str]:
    """Return the sentences of a document, its title first; a semicolon ends one too, as in glosses."""
    return [part for part in (title.strip(), *SENTENCE_END.split(text.strip())) if part]


@dataclass
class Stock:
    """The names and numerals of a corpus, which edits take their replacements from."""

    names: dict[int, list[str]] = field(default_factory=dict)
    """Distinct spans of names in order, by their number of words."""
    numerals: list[str] = field(default_factory=list)
    lower: frozenset[str] = frozenset()
    """The words that are in the corpus in lower case."""

    @classmethod
    def of(cls, documents: Iterable[str]) -> "Stock":
        """Return the stock of documents, which are read twice."""
        texts = list(documents)
        lower = frozenset(word for text in texts for word in WORD.findall(text) if word == word.lower())
        stock = cls(lower=lower)
        spans = {span for text in texts for span in stock.spans(text)}
        for span in sorted(spans):
            stock.names.setdefault(len(span.split()), []).append(span)
        stock.numerals = sorted({numeral for text in texts for numeral in NUMERAL.findall(text)})
        return stock

    def spans(self, text: str) -> list[str]:
        """Return the spans of names in a text: neighbours with nothing but a space between them make one."""
        found: list[str] = []
        end = -2
        for match in WORD.finditer(text):
            word = match[0]
            if not word[0].isupper() or word.lower() in self.lower:
                continue
            if match.start() == end + 1 and text[end] == " ":
                found[-1] = f"{found[-1]} {word}"
            else:
                found.append(word)
            end = match.end()
        return found


@dataclass(frozen=True)
class Pair:
    """What is edited: a document that answers a query."""

    query_id: str
    document_id: str
    query: str
    title: str
    text: str

    @property
    def whole(self) -> str:
        """The document as encoders read it."""
        return f"{self.title} {self.text}".strip()


def entity(pair: Pair, stock: Stock, number: int) -> str | None:
    """Return the document with a span of names replaced; None without one, or without another of its length."""
    spans = stock.spans(pair.whole)
    if not spans:
        return None
    asked = terms(pair.query)
    touching = [span for span in spans if terms(span) & asked]
    seed = seed_of(pair.query_id, pair.document_id, "entity", number)
    chosen = _drawn(touching or spans, seed)
    others = [span for span in stock.names.get(len(chosen.split()), []) if span not in spans]
    if not others:
        return None
    other = _drawn(others, seed // len(touching or spans))
    return re.sub(rf"(?<!\w){re.escape(chosen)}(?!\w)", lambda _: other, pair.whole, count=1)


def numeral(pair: Pair, stock: Stock, number: int) -> str | None:
    """Return the document with a numeral replaced by another; None without one, or where the corpus has no other."""
    found = list(NUMERAL.finditer(pair.whole))
    if not found:
        return None
    seed = seed_of(pair.query_id, pair.document_id, "number", number)
    chosen = _drawn(found, seed)
    others = [each for each in stock.numerals if each != chosen[0]]
    if not others:
        return None
    return pair.whole[: chosen.start()] + _drawn(others, seed // len(found)) + pair.whole[chosen.end() :]


def negation(pair: Pair) -> str:
    """Return the document negated, or without its negation."""
    text = pair.whole
    if NOT.search(text):
        return NOT.sub("", text, count=1)
    if found := AUXILIARY.search(text):
        return f"{text[: found.end()]} not{text[found.end() :]}"
    return f"Not {text}"


def nearest_sentence(pair: Pair) -> int | None:
    """Return which sentence shares most words with the query, the first of equals; None if none shares any."""
    asked = terms(pair.query)
    shared = [len(terms(sentence) & asked) for sentence in sentences(pair.title, pair.text)]
    best = max(shared, default=0)
    return shared.index(best) if best else None


def drop(pair: Pair) -> str | None:
    """Return the document without the sentence nearest to the query; None without two, or if none is near."""
    parts, nearest = sentences(pair.title, pair.text), nearest_sentence(pair)
    if len(parts) < 2 or nearest is None:
        return None
    return " ".join(part for place, part in enumerate(parts) if place != nearest)


def splice(pair: Pair, replacement: str | None) -> str | None:
    """Return the document with another's sentence in place of the one nearest to the query; None if none is near."""
    nearest = nearest_sentence(pair)
    if nearest is None or replacement is None:
        return None
    parts = sentences(pair.title, pair.text)
    parts[nearest] = replacement
    return " ".join(parts)


def versions(
    pair: Pair, stock: Stock, kinds: Sequence[str], count: int, replacements: Sequence[str]
) -> list[tuple[str, int, str]]:
    """Return the edits of a pair as (kind, number, text), those that change nothing or repeat one left out.

    `count` versions of the kinds that draw, and of `splice`, which takes a `replacement` each; one of the others.
    """
    made: dict[str, Callable[[int], str | None]] = {
        "entity": lambda number: entity(pair, stock, number),
        "number": lambda number: numeral(pair, stock, number),
        "negation": lambda number: None if number else negation(pair),
        "drop": lambda number: None if number else drop(pair),
        "splice": lambda number: splice(pair, replacements[number] if number < len(replacements) else None),
    }
    found: list[tuple[str, int, str]] = []
    seen = {normalised(pair.whole)}
    for kind in kinds:
        for number in range(count):
            text = made[kind](number)
            if text is not None and (words := normalised(text)) and words not in seen:
                seen.add(words)
                found.append((kind, number, text))
    return found


def _drawn(items: Sequence[Item], seed: int) -> Item:
    return items[seed % len(items)]
