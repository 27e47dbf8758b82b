"""BM25 in scripts without spaces: pairs of signs, chosen by the corpus' letters, told where it is not English."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negmark.board.card_text import _pools
from negmark.data import prepare
from negmark.evaluate import evaluate
from negmark.search import candidates
from negmark.search import parts as pool_parts
from negmark.search.bm25_words import words_of
from negmark.search.index import BM25Searcher, open_bm25
from negmark.search.scripts import BIGRAMS, ENGLISH, analyzer_of, spaced
from negmark.store.pool import CandidatePool, read_pool_facts

TEXTS = {
    "chinese": (["北京的天气今天很好", "上海的交通非常拥挤", "广州的早茶最有名"], ["上海交通怎么样", "早茶"]),
    "japanese": (["東京の天気は晴れです", "カメラーを買いました", "試験に落ちた学生"], ["カメラーの値段", "学生"]),
    "korean": (["서울에서 비가 온다", "부산은 바다가 있다", "제주도의 귤이 맛있다"], ["부산에 바다", "제주도 귤"]),
    "thai": (["กรุงเทพมหานครร้อนมาก", "เชียงใหม่มีภูเขาสูง", "ภูเก็ตมีทะเลสวย"], ["ภูเขาในเชียงใหม่", "ทะเลภูเก็ต"]),
    "khmer": (["ភ្នំពេញជារាជធានី", "សៀមរាបមានប្រាសាទ", "កំពតមានម្រេច"], ["ប្រាសាទនៅសៀមរាប", "ម្រេចកំពត"]),
    "hindi": (["दिल्ली की सड़कें", "हिन्दी भाषा का इतिहास", "गंगा नदी का पानी"], ["हिन्दी भाषा", "नदी में पानी"]),
}  # fmt: skip
"""Three documents and the queries of the last two; each query shares no whole run of signs with its document."""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("多くの学生が試験に落ちた。", "多く くの の学 学生 生が が試 試験 験に に落 落ち ちた"),
        ("一 二三四 五六七八九 十", "一 二三 三四 五六 六七 七八 八九 十"),
        ("あいうえおabcかきくけこ", "あい いう うえ えお abc かき きく くけ けこ"),
        ("一 رُوبرت موير", "一 رُوبرت موير"),
        ("Ｔｅｓｔ １２３４", "Test 1234"),  # noqa: RUF001 - full-width is what is meant
        ("木", "木"),
    ],
)
def test_pairs_are_those_of_lucene(text: str, words: str) -> None:
    """The examples of Lucene's TestCJKAnalyzer, which writes small letters."""
    assert spaced(text) == words


def test_a_mark_belongs_to_its_letter() -> None:
    assert spaced("ที่นี่") == "ที่นี่", "two letters with two marks each are one pair"
    assert spaced("ﾊﾞﾅﾅ") == "バナ ナナ"
    assert spaced("हिन्दी") == "हिन्दी"


@given(st.text(st.characters(max_codepoint=126), max_size=60))
def test_english_stays_as_it_is(text: str) -> None:
    one, other = (words_of([text], analyzer) for analyzer in (ENGLISH, BIGRAMS))
    assert list(one.vocab) == list(other.vocab)
    assert list(one.ids) == list(other.ids)


@pytest.mark.parametrize("language", TEXTS)
def test_each_query_finds_its_document(language: str) -> None:
    documents, queries = TEXTS[language]
    analyzer = analyzer_of(documents, len(documents))
    assert analyzer == BIGRAMS
    ids, _ = BM25Searcher(documents, queries, 1.2, 0.75, analyzer).search(np.arange(2), 3)
    assert ids[:, 0].tolist() == [1, 2]
    if language not in (
        "korean",
        "thai",
    ):  # has spaces; is cut at vowel signs, so that pieces may meet by chance
        ids, _ = BM25Searcher(documents, queries, 1.2, 0.75).search(np.arange(2), 3)
        assert ids[:, 0].tolist() != [1, 2]


def test_the_letters_decide_and_a_foreign_name_does_not() -> None:
    english = [
        "The capital is Beijing, a city of many people and of much else besides, such as streets."
    ] * 150
    assert analyzer_of(english, 150) == ENGLISH
    assert analyzer_of([*english, "北京"], 151) == ENGLISH
    assert analyzer_of([*english, "北京" * 100], 151) == BIGRAMS
    assert analyzer_of(["Grüße", "été", "Привет, мир", "שלום"], 4) == ENGLISH
    assert analyzer_of([], 0) == ENGLISH
    assert analyzer_of(["", "1 2 3"], 2) == ENGLISH


def written(folder: Path, documents: list[str], queries: list[str]) -> Path:
    """A dataset whose query q has document q + 1 as positive, in training and, with an own query, in the test."""
    rows = np.array([(query, query + 1, 1) for query in range(len(queries))], dtype=np.int64)
    made = prepare.Collection(
        [f"d{row}" for row in range(len(documents))], [""] * len(documents), documents,
        [f"q{row}" for row in range(len(queries))], queries, {"train": rows, "test": rows},
    )  # fmt: skip
    prepare.write(made, folder)
    return folder


def settings(**more: str) -> str:
    return json.dumps({"depth": 2, "bm25_k1": 1.2, "bm25_b": 0.75, **more})


def test_a_pool_says_how_it_was_searched_and_what_it_lacks(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("NEGMARK_LOG", "log")
    documents, queries = TEXTS["chinese"]
    dataset = written(tmp_path / "data", [*documents, "上海也有早茶"], queries)
    found = {}
    for name, more in (("auto", {}), ("english", {"bm25_analyzer": "english"})):
        candidates.main("bm25", dataset, settings(**more), tmp_path / name / "bm25.safetensors")
        found[name] = read_pool_facts(tmp_path / name / "bm25.safetensors")
    assert found == {
        "auto": {"queries": 2, "without": 0, "analyzer": "bigrams"},
        "english": {"queries": 2, "without": 2},
    }
    ids, _ = CandidatePool(tmp_path / "auto" / "bm25.safetensors").candidates(np.arange(2))
    assert ids.tolist() == [[3, -1], [3, -1]]
    told = capsys.readouterr().err.splitlines()
    assert "by words, and pairs of signs in scripts without spaces" in told[0]
    assert told[2].endswith("2 of 2 queries have no candidate, so its methods give them no negative")
    facts = dict(_pools({"pools": {"bm25": found["english"]}}))
    assert facts == {
        "BM25 compares": "English words",
        "BM25 pool": "2 of 2 training queries have no candidate: methods that choose from it give them no negative",
    }
    assert dict(_pools({"pools": {"bm25": found["auto"]}})) == {
        "BM25 compares": "words, and pairs of signs in scripts without spaces"
    }


def test_a_pool_in_parts_is_the_same(tmp_path: Path) -> None:
    dataset = written(tmp_path / "data", *TEXTS["thai"])
    whole, part, gathered = (tmp_path / name / "bm25.safetensors" for name in ("whole", "part", "gathered"))
    candidates.main("bm25", dataset, settings(), whole)
    pool_parts.main(dataset, settings(), part, 1, 1, part=0)
    pool_parts.main(dataset, settings(), gathered, 1, 1, parts=[part])
    assert gathered.read_bytes() == whole.read_bytes()


def test_an_english_pool_has_no_new_header(tmp_path: Path) -> None:
    dataset = written(tmp_path / "data", ["a cat", "the dog barks", "birds sing"], ["dog", "bird song"])
    for name, more in (("auto", {}), ("english", {"bm25_analyzer": "english"})):
        candidates.main("bm25", dataset, settings(**more), tmp_path / name / "bm25.safetensors")
    one, other = ((tmp_path / name / "bm25.safetensors").read_bytes() for name in ("auto", "english"))
    assert one == other
    assert b"analyzer" not in one


def test_the_baseline_says_its_analyser_and_what_finds_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("NEGMARK_LOG", "log")
    dataset = written(tmp_path / "data", *TEXTS["japanese"])
    about = {
        "dataset": "ja",
        "row": "bm25_search",
        "title": "BM25",
        "track": "baseline",
        "metrics": ["nDCG@10"],
    }
    for name, more in (("auto", {}), ("english", {"analyzer": "english"})):
        params = {"k1": 1.2, "b": 0.75, **more}
        evaluate.main([tmp_path / name / "metrics.json"], json.dumps({**about, "params": params}), dataset)
    found = {name: json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("auto", "english")}
    assert found["auto"]["params"] == {"k1": 1.2, "b": 0.75, "analyzer": "bigrams"}
    assert found["auto"]["slices"]["all"]["nDCG@10"] == 1
    assert found["english"]["slices"]["all"]["nDCG@10"] == 0
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "  ja: BM25: finds no document for 2 of 2 test queries"
    assert open_bm25(dataset, 1.2, 0.75).analyzer == "bigrams"
