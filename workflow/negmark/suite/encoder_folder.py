"""What the folders of a suite's encoders say, asked before anything runs: settings that the suite leaves open, lengths.

A suite's own key always wins; where it leaves one out, a sentence-transformers folder's prompts and its similarity are
taken. A model that isn't here yet is fetched as far as that needs, but never in a dry run.
"""

import contextlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json, sha256_file, short_hash, write_json
from negmark.core.folders import cache_folder
from negmark.core.tiers import TIERS
from negmark.encode.architecture import readable
from negmark.encode.model_files import weight_files
from negmark.encode.pretrained import described
from negmark.encode.recipe import SIDES, Said, ends_in_unit_length, recipe_of, said_in
from negmark.encode.table_starts import TABLES_BY_NAME
from negmark.suite.settings import EncoderSettings
from negmark.suite.suite import Suite

DOT, COSINE = "dot", "cosine"
SIMILARITIES = (COSINE, DOT)


def left_open(suite: Suite, file: str, fetch: bool) -> dict[str, Any]:
    """Return the keys of `encoder` and `teacher` that a suite leaves out and their folders name, by section.

    Raises `UserError` if a folder names a similarity that can't be followed. `file` is the config's name in messages.
    """
    cosine_only = sorted(name for name in suite.tier_names if not TIERS[name].reads_texts)
    if TIERS[suite.tier].starts_from_table:
        cosine_only = [suite.tier]
    found = {"encoder": _keys(suite.encoder, start_folder(suite, fetch), cosine_only, f"{file}: encoder")}
    if suite.teacher_encoder:
        folder = described(suite.teacher_encoder.model, fetch)
        found["teacher"] = _keys(suite.teacher_encoder, folder, [], f"{file}: teacher")
    return {section: keys for section, keys in found.items() if keys}


def start_folder(suite: Suite, fetch: bool) -> Path | None:
    """Return the folder that says how texts are encoded at the start; None if it isn't here, or nothing says so."""
    if not TIERS[suite.tier].starts_from_table:
        return described(suite.encoder.model, fetch)
    return None if suite.static.start in TABLES_BY_NAME else described(suite.static.start, fetch)


def check_encoders(suite: Suite) -> None:
    """Raise `UserError` if a folder can't be followed, or reads fewer tokens than asked for.

    A model that isn't here is left out: who needs it says so.
    """
    asked = {} if TIERS[suite.tier].starts_from_table else {"encoder": suite.encoder}
    asked |= {"teacher": suite.teacher_encoder} if suite.teacher_encoder else {}
    for section, settings in asked.items():
        if folder := described(settings.model, fetch=False):
            if all(file.is_file() for file in weight_files(folder)):
                recipe_of(folder)
            most = _tokens_read(folder)
            for key in ("query_length", "document_length"):
                if (length := getattr(settings, key)) > most:
                    raise UserError(
                        f"{section}.{key}: {length} tokens are asked for, but {settings.model} reads at most {most}; "
                        "lower it"
                    )


def _tokens_read(folder: Path) -> int:
    """Return how many tokens a model reads, kept by the content of what says so: to ask its class takes seconds."""
    said = {str(file.relative_to(folder)): sha256_file(file) for file in sorted(folder.rglob("*.json"))}
    kept = cache_folder() / "lengths" / f"{short_hash([said, version('transformers')])}.json"
    if kept.is_file():
        return int(read_json(kept))
    most = readable(folder)
    with contextlib.suppress(UserError, OSError):  # what can't be kept is asked again
        write_json(kept, most)
    return most


def _keys(
    settings: EncoderSettings, folder: Path | None, cosine_only: list[str], where: str
) -> dict[str, str]:
    if folder is None:
        return {}
    said = said_in(folder)
    given = settings.model_fields_set
    prompts = {f"{side}_prompt": said.prompts[side] for side in SIDES if said.prompts[side]}
    found = {key: text for key, text in prompts.items() if key not in given}
    if "similarity" not in given and (similarity := _similarity(said, folder, cosine_only, where)) != COSINE:
        found["similarity"] = similarity
    return found


def _similarity(said: Said, folder: Path, cosine_only: list[str], where: str) -> str:
    """Return the similarity that a folder names; of vectors of length 1 all give the order of the cosine."""
    if said.similarity in (None, COSINE) or ends_in_unit_length(folder):
        return COSINE
    if said.similarity not in SIMILARITIES:
        raise UserError(
            f"{where}.similarity: {said.file} compares by {said.similarity}, which isn't done here; set it to "
            "cosine or dot"
        )
    if cosine_only:
        raise UserError(
            f"{where}.similarity: {said.file} compares by dot products, and the tier {cosine_only[0]} by cosine; set "
            "it to cosine, or take the tier finetune"
        )
    return str(said.similarity)
