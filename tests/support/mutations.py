"""Damage done to configs and files by seed: what a slip of the hand, a wrong tool or ill will makes of them."""

import copy
import datetime
import re
from collections.abc import Iterator
from random import Random
from typing import Any

Path = tuple[Any, ...]
STRANGE = [
    None, True, False, 0, -1, 1, 3.7, "3", "3.7", 10**30, -(10**30), 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    "", " ", "nan", "../..", "/", "./", "a/b", "~", "-", "=1+1", "no", "x" * 100_000, "x" * 300, "./" + "x" * 5000,
    "\0", "./a\0b", "\ud800", "./\ud800", "a\nb", "\u202eabc", "\u00e9t\u00e9", "\u0663", "\U0001f600", "\x1b[31m",
    [], {}, [[]], [None], [1, 1], ["a"], {"a": 1}, {"": None}, {None: None}, {3: 4}, {"row": []}, {"x" * 5000: 1},
    datetime.date(2026, 1, 1), b"\xff", {1, 2}, "{b}", "untrained", "inbatch", "simans", "scifact", "train",
]  # fmt: skip
"""Values that YAML can give, none of which belongs anywhere but by chance."""


def places(value: Any, above: Path = ()) -> Iterator[Path]:
    """Give the path of every key and every list entry of a config."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*above, key)
        yield from places(inner, (*above, key))


def at(value: Any, path: Path) -> Any:
    """Return what stands at a path."""
    for key in path:
        value = value[key]
    return value


def misspelt(word: Any, random: Random) -> Any:
    """Return a key with a slip: a letter lost, doubled, swapped with the next, or another sign in it."""
    text = str(word)
    place = random.randrange(len(text)) if text else 0
    slips = [
        text[:place] + text[place + 1 :], text[:place] + text[place : place + 1] + text[place:], f"{text}s", f"{text} ",
        text[:place] + text[place + 1 : place + 2] + text[place : place + 1] + text[place + 2 :], text.title(),
        text[:place] + random.choice("\u00e9\u0430-_.\0 \u200b") + text[place + 1 :], 3, None, ("a", "b"),
    ]  # fmt: skip
    return random.choice([slip for slip in slips if slip != word])


def damaged(config: dict[str, Any], random: Random) -> tuple[dict[str, Any], str, Path]:
    """Return a copy of a config with one fault, the kind of fault, and where it lies."""
    made = copy.deepcopy(config)
    path = random.choice(list(places(made)))
    inner, key = at(made, path[:-1]), path[-1]
    kinds = ["lost", "strange", "strange", "strange", "wrapped", "moved", "added"]
    kind = random.choice([*kinds, *(["misspelt"] * 3 if isinstance(inner, dict) else [])])
    if kind == "lost":
        del inner[key]
    elif kind == "misspelt":
        value = inner.pop(key)
        name = misspelt(key, random)
        inner[name] = value
        path = (*path[:-1], name)
    elif kind == "strange":
        inner[key] = copy.deepcopy(random.choice(STRANGE))
    elif kind == "wrapped":
        inner[key] = random.choice([[inner[key]], {"a": inner[key]}, {key: inner[key]}, str(inner[key])])
    elif kind == "moved":
        inner[key] = copy.deepcopy(at(made, random.choice(list(places(made)))))
    else:
        target = inner[key] if isinstance(inner[key], dict) else made
        path = (*(path if target is inner[key] else ()), "unheard_of")
        target["unheard_of"] = random.choice(STRANGE)
    return made, kind, path


def damaged_bytes(content: bytes, random: Random) -> bytes:
    """Return the bytes of a file with one fault: lost, doubled, swapped or cut lines, fields or bytes."""
    lines, place = content.splitlines(keepends=True), random.randrange(max(len(content), 1))
    row, other = (random.randrange(max(len(lines), 1)) for _ in range(2))
    line = lines[row] if lines else b""
    kind = random.choice(
        ["flip", "cut", "lose", "double", "swap", "insert", "field", "fields", "end", "number", "value"]
    )
    if kind == "flip":
        return content[:place] + bytes([random.randrange(256)]) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    if kind == "insert":
        return content[:place] + random.choice(JUNK) + content[place:]
    if kind == "end":
        return content.replace(b"\n", random.choice([b"\r\n", b"\r", b"", b"\n\n", b"\x0b\n", b"\x85\n"]))
    if kind == "lose":
        del lines[row : row + 1]
    elif kind == "double":
        lines.insert(other, line)
    elif kind == "swap" and lines:
        lines[row], lines[other] = lines[other], lines[row]
    elif kind == "value":
        lines[row : row + 1] = [
            re.sub(rb': ("[^"]*"|\d+)', lambda _: b": " + random.choice(VALUES), line, count=1)
        ]
    elif kind == "number":
        lines[row : row + 1] = [re.sub(rb"\d+", random.choice(NUMBERS), line)]
    else:
        for sign in (b"\t", b",", b" "):
            if sign in line:
                fields = line.rstrip(b"\n").split(sign)
                random.shuffle(fields)
                lines[row] = sign.join(fields if kind == "fields" else fields[1:]) + b"\n"
                break
    return b"".join(lines)


NUMBERS = [
    b"-1", b"1e3", b"1.5", b"9" * 30, b"9" * 5000, b"0x1", b"\xd9\xa3", b"1_0", b"NaN", b" 1", b"", b"2147483648",
]  # fmt: skip
JUNK = [
    b"\0", b"\t", b"\n", b"\r", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"[" * 3000, b'{"a":' * 3000,
    b"x" * 100_000, b"\xe2\x80\xae", b"\xef\xbb\xbf", b"\x1a", b"\x1f\x8b", b"\x85", b"\xe2\x80\xa8", b'"', b"\\",
    b":", b"- ",
]  # fmt: skip
VALUES = [
    b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"null", b"NaN", b"1e999", b"9" * 5000, b'""',
    b'"\\u0000"', b'"a b"', b'"\\ud800"', b'"\\n"', b"[]", b"{}", b"true", b"1.5", b'"' + b"x" * 100_000 + b'"',
]  # fmt: skip
