"""Words of scripts that don't put spaces between them, or whose letters carry signs, for BM25.

The English analyser takes a run of letters for a word. A Chinese sentence is then one word that no other sentence has,
a Korean word differs with each particle, and a Thai or Hindi one is cut at its vowel signs: BM25 finds nothing. So runs
of Han, kana and Hangul become overlapping pairs of signs, as by Lucene's CJKBigramFilter, and so do runs of Thai, Lao,
Khmer and Burmese, where a sign is a letter with its marks. All other words keep their marks, and are treated as in
English.
"""

import unicodedata
from collections.abc import Iterable
from itertools import islice, pairwise

import regex

AUTO, ENGLISH, BIGRAMS = "auto", "english", "bigrams"
TITLES = {ENGLISH: "English words", BIGRAMS: "words, and pairs of signs in scripts without spaces"}

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\u30fc"  # the last one lengthens a vowel in both kana
_OTHERS = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SIGN = rf"[[{_CJK}{_OTHERS}]&&[\p{{L}}\p{{N}}]]\p{{M}}*"
_WORD = rf"[[\w\p{{M}}]--[{_CJK}{_OTHERS}]]{{2,}}"
_PARTS = regex.compile(rf"(?V1)(?P<signs>(?:{_SIGN})+)|{_WORD}")
_SIGNS = regex.compile(rf"(?V1){_SIGN}")
_ODD = regex.compile(rf"(?V1)[[{_CJK}{_OTHERS}]&&[\p{{L}}]]|\p{{M}}")
_LETTERS = regex.compile(r"(?V1)[\p{L}\p{M}]")

SAMPLE = 10_000
"""Evenly spread documents whose letters decide which analyser `auto` is."""
ODD_SHARE = 0.01
"""The least share of letters that the English analyser can't cut into words, for `auto` to be `bigrams`."""


def spaced(text: str) -> str:
    """Return the words and pairs of signs of a text with a space between them.

    Compatibility forms (full-width letters, half-width kana) are written as the usual ones first. A sign alone is a
    word. As in English, other words have at least two letters.
    """
    words: list[str] = []
    for part in _PARTS.finditer(unicodedata.normalize("NFKC", text)):
        if not part["signs"]:
            words.append(part[0])
            continue
        signs = _SIGNS.findall(part[0])
        words += map("".join, pairwise(signs)) if len(signs) > 1 else signs
    return " ".join(words)


def analyzer_of(documents: Iterable[str], count: int) -> str:
    """Return the analyser that fits `count` documents by their letters: `english` or `bigrams`."""
    odd = letters = 0
    for text in islice(documents, 0, None, -(-count // SAMPLE) or 1):
        odd += len(_ODD.findall(text))
        letters += len(_LETTERS.findall(text))
    return BIGRAMS if odd and odd >= ODD_SHARE * letters else ENGLISH
