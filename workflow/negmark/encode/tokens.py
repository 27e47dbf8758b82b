"""Token ids of many texts, concatenated in one flat file that is mapped into memory, never read at once.

Texts are tokenised once per content: the files are in the cache, keyed by tokenizer, texts, length and prompt.
"""

import hashlib
import importlib.metadata
import itertools
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.core.cache import alone
from negmark.core.errors import UserError
from negmark.core.files import canonical, replacing_folder, sha256_file
from negmark.core.folders import cache_folder
from negmark.encode.architecture import readable
from negmark.encode.model_files import TOKENIZER, lowers, open_tokenizer, transformer_folder
from negmark.encode.pretrained import config_content
from negmark.encode.recipe import recipe_of

IDS, STARTS = "ids.bin", "starts.npy"
WIDTHS: dict[int, np.dtype[Any]] = {2: np.dtype(np.uint16), 4: np.dtype(np.int32)}
TEXTS_PER_CHUNK = 2048
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Texts:
    """The texts of one side, with the maximum length in tokens and the prompt in front of each."""

    lines: list[str]
    length: int
    prompt: str


@dataclass(frozen=True)
class Tokens:
    """Token ids of N texts: `ids` [total], and `starts` [N + 1], where each text starts and the last one ends.

    The first `left_out` of each are those of a prompt, which a folder may leave out of the pooling.
    """

    ids: NDArray[Any]
    starts: NDArray[np.int64]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text [N]."""
        return np.diff(self.starts)

    def taken(self, rows: NDArray[np.int64]) -> "Tokens":
        """Return the tokens of some texts, in the order of `rows`, in memory."""
        first, lengths = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        starts = _starts([lengths])
        places = np.arange(starts[-1]) + np.repeat(first - starts[:-1], lengths)
        return Tokens(np.asarray(self.ids)[places], starts, self.left_out)

    def padded(
        self, rows: NDArray[np.int64], padding: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the token ids [R, T] of R rows, padded at the end, and the mask [R, T]: 1 where there is a token."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        places = np.where(mask, self.starts[rows][:, None] + np.arange(mask.shape[1]), 0)
        return np.where(mask, self.ids[places], padding).astype(np.int64), mask.astype(np.int64)


def tokens_of(model: Path, side: Texts) -> Tokens:
    """Return the tokens of a side, from the cache if they are complete there.

    Raises `UserError` if the side's length exceeds what the model can read.
    """

    def make(folder: Path) -> None:
        tokenizer = _open(model, side.length)
        write(folder, chunks(tokenizer, side), len(tokenizer))

    found = cached(tokens_key(model, side), len(side.lines), make)
    return replace(found, left_out=prompt_tokens(model, side))


def cached(key: str, count: int, make: Callable[[Path], None]) -> Tokens:
    """Return the tokens of `count` texts that lie in the cache under a key; `make` writes them to a folder else."""
    folder = cache_folder() / "tokens" / key[:32]
    found = _read_whole(folder, count)
    if found is None:
        with alone(folder, "tokenises the same texts"):
            found = _read_whole(folder, count)
            if found is None:
                found = _made(folder, make)
    return found


def tokens_key(model: Path, side: Texts) -> str:
    """Return a SHA-256 of all that decides the tokens of a side: tokenizer, texts, length and prompt."""
    inner = transformer_folder(model)
    parts: list[Any] = [sha256_file(inner / TOKENIZER), config_content(inner / "tokenizer_config.json")]
    parts += ["in lower case"] if lowers(model) else []
    parts += [importlib.metadata.version(name) for name in ("transformers", "tokenizers")]
    return hashlib.sha256(canonical([*parts, *texts_key(side)]).encode()).hexdigest()


def texts_key(side: Texts) -> list[Any]:
    """Return what of a side decides its tokens, whatever cuts them: a SHA-256 of its texts, its length and prompt."""
    texts = hashlib.sha256()
    for line in side.lines:
        content = line.encode("utf-8", "surrogatepass")
        texts.update(len(content).to_bytes(8, "little") + content)
    return [texts.hexdigest(), side.length, side.prompt]


def tokenise(model: Path, side: Texts) -> Tokens:
    """Return the tokens of a few texts, in memory. Raises `UserError` as `tokens_of`."""
    return replace(gather(chunks(_open(model, side.length), side)), left_out=prompt_tokens(model, side))


def prompt_tokens(model: Path, side: Texts) -> int:
    """Return the tokens at the start of each text that are its prompt's, where the folder leaves them out; 0 elsewhere.

    They are counted as sentence-transformers does: those of the prompt alone, without a special one at its end.
    """
    if not side.prompt or recipe_of(model).include_prompt:
        return 0
    tokenizer = open_tokenizer(model)
    ids = tokenizer(side.prompt, truncation=True, max_length=side.length)["input_ids"]
    return len(ids) - (bool(ids) and ids[-1] in tokenizer.all_special_ids)


def chunks(tokenizer: Any, side: Texts) -> Iterator[list[list[int]]]:
    """Yield token ids, a few thousand texts at a time, truncated to the side's length.

    A text without tokens gets one padding token.
    """
    for start in range(0, len(side.lines), TEXTS_PER_CHUNK):
        lines = [side.prompt + line for line in side.lines[start : start + TEXTS_PER_CHUNK]]
        encoded = tokenizer(lines, truncation=True, max_length=side.length, return_attention_mask=False)
        yield [line or [tokenizer.pad_token_id or 0] for line in encoded["input_ids"]]


def gather(chunks: Iterable[list[list[int]]]) -> Tokens:
    """Return the tokens of a few texts, in memory."""
    lines = [line for chunk in chunks for line in chunk]
    return Tokens(_flat(lines, WIDTHS[4]), _starts([_lengths(lines)]))


def write(folder: Path, chunks: Iterable[list[list[int]]], vocabulary: int) -> None:
    """Write token ids as they come, a chunk of texts at a time; the folder appears complete or not at all."""
    width = WIDTHS[2 if vocabulary <= 2**16 else 4]
    lengths: list[NDArray[np.int64]] = []
    with replacing_folder(folder) as partial:
        with (partial / IDS).open("wb") as stream:
            for chunk in chunks:
                lengths.append(_lengths(chunk))
                stream.write(_flat(chunk, width).tobytes())
        np.save(partial / STARTS, _starts(lengths))


def read(folder: Path) -> Tokens | None:
    """Map the tokens of a folder into memory; None if they are missing or incomplete."""
    try:
        starts = np.load(folder / STARTS)
        size = (folder / IDS).stat().st_size
    except (OSError, ValueError, EOFError):
        return None
    total = int(starts[-1])
    width = WIDTHS.get(size // total) if total else WIDTHS[2]
    if width is None or size != total * width.itemsize:
        return None
    ids = np.memmap(folder / IDS, dtype=width, mode="r") if total else np.empty(0, width)
    return Tokens(ids, starts)


def _read_whole(folder: Path, count: int) -> Tokens | None:
    found = read(folder)
    return found if found is not None and len(found) == count else None


def _made(folder: Path, make: Callable[[Path], None]) -> Tokens:
    """Write tokens to the cache, in place of damaged ones if there are any."""
    if folder.exists():
        log.warning("%s: damaged; the texts are tokenised again", folder)
        shutil.rmtree(folder)
    make(folder)
    found = read(folder)
    if found is None:
        raise UserError(f"{folder}: can't be read back after it was written; check the disk")
    return found


def _open(model: Path, length: int) -> Any:
    tokenizer = open_tokenizer(model)
    if length > (most := readable(model, tokenizer)):
        raise UserError(
            f"encoder: {length} tokens are asked for, but the model reads at most {most}; lower query_length or "
            "document_length"
        )
    return tokenizer


def _flat(lines: list[list[int]], width: np.dtype[Any]) -> NDArray[Any]:
    return np.fromiter(itertools.chain.from_iterable(lines), width)


def _lengths(lines: list[list[int]]) -> NDArray[np.int64]:
    return np.array([len(line) for line in lines], dtype=np.int64)


def _starts(lengths: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
