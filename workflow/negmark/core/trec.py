"""Names in TREC's files, whose columns end at white space."""

import functools
import re
from urllib.parse import quote

SPACE = re.compile(r"\s")


@functools.lru_cache(maxsize=1 << 20)
def trec_id(name: str) -> str:
    """Return an id with its white space percent-encoded."""
    return SPACE.sub(lambda space: quote(space[0]), name)
