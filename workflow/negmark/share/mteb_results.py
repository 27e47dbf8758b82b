"""Stage mteb: the results of a board as MTEB stores them, so that its tools read them beside those of other models.

A folder `results/<model>/<revision>/<task>.json` with a `model_meta.json` beside it, which
`mteb.ResultCache(cache_path=...)` takes. The values are ours (trec_eval's measures, by ir_measures), so no version of
mteb is claimed. A task has MTEB's name only where the whole collection and its own test split were searched, and what
it calls relevant was.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, replacing_folder, write_json
from negmark.core.names import UNTRAINED
from negmark.core.run_folders import run_folder
from negmark.store.contents import Contents, read_contents
from negmark.store.run import read_run

MAIN, BASELINE, SUBSET = "nDCG@10", "baseline", "default"
"""The metric that ranks retrieval there, the revision of what isn't trained, and the subset of tasks without any."""
NAMES = {
    "nDCG": "ndcg_at_{}", "RR": "mrr_at_{}", "R": "recall_at_{}", "P": "precision_at_{}", "AP": "map_at_{}",
    "Success": "hit_rate_at_{}",
}  # fmt: skip
"""What MTEB calls a measure of ir_measures with a cut; any other stays out."""
METRIC = re.compile(r"(\w+)@(\d+)")
OTHERS = "own ", "hub: ", "ir_datasets "
"""How a card begins to say where a collection is from that only happens to have one of our names."""
ENGLISH = "eng-Latn"


@functools.cache
def tasks() -> dict[str, dict[str, str]]:
    """Return MTEB's tasks by our names of their collections."""
    found: dict[str, dict[str, str]] = yaml.safe_load(
        Path(__file__).with_name("mteb_tasks.yaml").read_text(encoding="utf-8")
    )
    return found


def task_of(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the task, revision, split and language of a dataset, by its card.

    A folder or archive of the user's own is no task of MTEB's, whatever its name, nor is a mixture.
    """
    split = card.get("test_split", "test")
    elsewhere = "mixed" in card or card["source"].startswith(OTHERS)
    known = {} if elsewhere else tasks().get(card["dataset"], {})
    graded_so = card.get("relevant_grade", {}).get("test", 1) == 1
    whole = card["documents"] == card["documents_full"] and "test_queries" not in card and graded_so
    if known and whole and split == known.get("split", "test"):
        return {"task": known["task"], "revision": known["revision"], "split": split, "language": ENGLISH}
    return {"task": f"negmark-{card['name']}", "revision": card["sha256"], "split": split, "language": ""}


def result(run: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's result of a task. Raises `UserError` if it lacks the metric that ranks there."""
    means = run["slices"]["all"]
    if MAIN not in means:
        raise UserError(f"{run['suite']}: metrics: MTEB ranks by {MAIN}, which the suite lacks; add it")
    task = task_of(card)
    scores = {
        NAMES[found[1]].format(found[2]): means[metric]
        for metric in run["metrics"]
        if (found := METRIC.fullmatch(metric)) and found[1] in NAMES
    }
    entry = {
        **scores,
        "main_score": means[MAIN],
        "hf_subset": SUBSET,
        "languages": [task["language"]] if task["language"] else [],
    }
    return {
        "dataset_revision": task["revision"],
        "task_name": task["task"],
        "mteb_version": None,
        "scores": {task["split"]: [entry]},
        "evaluation_time": None,
        "kg_co2_emissions": None,
    }


def model_name(run: Mapping[str, Any]) -> str:
    """Return the name of the model behind a run: one that differs by what it was trained on has another."""
    home = run.get("trained_on") or run["dataset"]
    return f"negmark/{run['suite']}-{home}-{run['row']}"


def revision(run: Mapping[str, Any]) -> str:
    """Return which of the model's runs it is."""
    return BASELINE if run["seed"] is None else run_folder(run["seed"])


def model_meta(run: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a run's model, by the keys of MTEB's `ModelMeta`; what isn't is null."""
    lexical = run["track"] == "baseline" and run["row"] != UNTRAINED
    unknown = (
        "loader", "release_date", "languages", "n_parameters", "memory_usage_mb", "max_tokens", "embed_dim", "license",
        "open_weights", "public_training_code", "public_training_data",
    )  # fmt: skip
    return {
        **dict.fromkeys(unknown),
        "name": model_name(run),
        "revision": revision(run),
        "framework": ["PyTorch"] if not lexical else [],
        "similarity_fn_name": None,
        "use_instructions": None,
        "training_datasets": [task_of(card)["task"]] if run["track"] != "baseline" else [],
        "adapted_from": None,
        "modalities": ["text"],
        "model_type": ["cross-encoder" if run.get("first_stage") else "lexical" if lexical else "dense"],
    }


def write_results(contents: Contents, folder: Path, root: Path = Path()) -> int:
    """Write the results of all runs and baselines of a board into `folder`, and return how many there are."""
    cards = {name: read_json(root / card) for name, card in contents.cards.items()}
    searched = [name for name in contents.cards if name not in contents.sentences]
    runs = [read_run(root / path) for path in contents.files("metrics.json", *searched)] if searched else []
    for run in runs:
        place = folder / "results" / model_name(run).replace("/", "__") / revision(run)
        found = result(run, cards[run["dataset"]])
        write_json(place / f"{found['task_name']}.json", found)
        write_json(place / "model_meta.json", model_meta(run, cards[run.get("trained_on") or run["dataset"]]))
    return len(runs)


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    output: Annotated[Path, Option(help="the folder to write")],
) -> None:
    """Write the results of a board as MTEB stores them."""
    listed = read_contents(contents)
    with replacing_folder(output) as partial:
        count = write_results(listed, partial)
        if not count:
            raise UserError(
                f"{listed.suite}: it has no dataset that is searched, so there is nothing for MTEB"
            )
    stage.say(f"{listed.suite}: {count:,} results: mteb.ResultCache(cache_path={str(output)!r})")


if __name__ == "__main__":
    stage.command(main)
