"""Stage trec: a run's ranking as a TREC file that says where it comes from, in a header of ir_metadata.

ir_metadata (Breuer, Keller, Schaer 2022, https://www.ir-metadata.org; schema 0.1) is YAML by PRIMAD's components:
platform, research goal, implementation, method, actor, data. Its lines begin with `#`, between `# ir_metadata.start`
and `# ir_metadata.end`, as repro_eval reads and writes them. What a run doesn't know, as who made it, is left out.
"""

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from typer import Argument, Option

from negmark import __version__
from negmark.core import stage
from negmark.core.files import read_json, replacing
from negmark.core.names import METRICS_FILE, RUN
from negmark.core.tiers import DEFAULT, TIERS

START, END, MARK = "# ir_metadata.start", "# ir_metadata.end", "#"
SCHEMA, VERSION = 0.1, 1.0
WIDTH = 4096
"""Characters of a line of YAML before it is broken: no line is, as repro_eval does it."""
MEASURES = {
    "nDCG": "ndcg_cut_{}", "R": "recall_{}", "P": "P_{}", "AP": "map_cut_{}", "Success": "success_{}",
}  # fmt: skip
"""trec_eval's names of measures with a cut; it has none for a reciprocal rank with one, which keeps ours."""
METRIC = re.compile(r"(\w+?)(?:@(\d+))?")


def measure_name(metric: str) -> str:
    """Return trec_eval's name of a metric, or ours where it has none."""
    found = METRIC.fullmatch(metric)
    if found and found[1] in MEASURES and found[2]:
        return MEASURES[found[1]].format(found[2])
    return {"AP": "map", "RR": "recip_rank", "nDCG": "ndcg", "Rprec": "Rprec"}.get(metric, metric)


def metadata(
    run: Mapping[str, Any], manifest: Mapping[str, Any], reference: str, command: str
) -> dict[str, Any]:
    """Return what is known of a run, from its metrics.json and its manifest.json, by the keys of ir_metadata."""
    facts, tier = manifest["run"], manifest["run"].get("tier", DEFAULT)
    return {
        "schema-version": SCHEMA,
        "run-version": VERSION,
        "tag": run["row"],
        "platform": _platform(manifest),
        "research goal": {
            "description": "Which negatives should a retriever be trained on?",
            "evaluation": {
                "reported measures": [measure_name(metric) for metric in run["metrics"]],
                "baseline": [reference],
                "significance test": [
                    {"name": "two-way random-effects model of queries and seeds, generalised intervals",
                     "correction method": "holm"}
                ],
            },
        },
        "implementation": {
            "executable": {"cmd": command},
            "source": {"lang": ["python"], "commit": manifest["code"]},
        },
        "method": {
            "automatic": True,
            "score ties": "document id, descending",
            "indexing": {"tokenizer": f"that of {facts.get('encoder', {}).get('model', 'the encoder')}"},
            "retrieval": _stages(run, manifest, tier),
        },
        "actor": {"role": "experimenter"},
        "data": _data(run, manifest),
    }  # fmt: skip


def _platform(manifest: Mapping[str, Any]) -> dict[str, Any]:
    found = manifest["hardware"]
    packages = [f"{name}=={version}" for name, version in manifest["packages"].items() if version]
    gpus = [str(name) for name in found.get("gpus", [])]
    return {
        "hardware": {
            "cpu": {"model": found["cpu"], "architecture": found["machine"], "number of cores": found["cores"]},
            "ram": f"{found['memory_gibibytes']:g} GiB",
            **({"gpu": {"architecture": ", ".join(gpus)}} if gpus else {}),
        },
        "operating system": {"kernel": found["system"]},
        "software": {
            "libraries": {"python": [f"python=={manifest['python']}", *packages]},
            "retrieval toolkit": [f"negmark=={__version__}"],
        },
    }  # fmt: skip


def _stages(run: Mapping[str, Any], manifest: Mapping[str, Any], tier: str) -> list[dict[str, Any]]:
    """Return the stages of the ranking: what was trained, and what it re-ranks, if it does."""
    facts = manifest["run"]
    trained = {
        "name": run["row"],
        "method": f"{TIERS[tier].trained}; negatives by {run['title']}",
        "start": run["start"],
        "track": run["track"],
        "params": run["params"],
        "training": {key: value for key, value in facts["training"].items() if value is not None},
        "seed": facts["seed"],
    }
    if not (first := run.get("first_stage")):
        return [trained]
    before = {"name": first["name"], "params": {key: first[key] for key in first if key != "name"}}
    return [before, {**trained, "reranks": first["name"]}]


def _data(run: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    home = manifest["data"]["dataset"]
    trained_on = {"name": home["dataset"], "source": home["source"], "sha256": home["sha256"]}
    tested = {"name": run["dataset"]} if run.get("trained_on") else trained_on
    return {"test collection": tested, "training data": [trained_on]}


def header(found: Mapping[str, Any]) -> str:
    """Return metadata as the header of a run: YAML behind `#`."""
    # by JSON, so that what stands in two places has no anchor
    plain = json.loads(json.dumps(found))
    lines = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=WIDTH).splitlines()
    return "\n".join([START, *(f"{MARK} {line}" for line in lines), END]) + "\n"


def main(
    run: Annotated[Path, Argument(help=f"folder of the run: its {METRICS_FILE} and {RUN}")],
    manifest: Annotated[Path, Option(help="manifest.json of the run's training")],
    reference: Annotated[str, Option(help="the row that the board compares with")],
    output: Annotated[Path, Option(help="the file to write")],
) -> None:
    """Write a run with a header of ir_metadata."""
    facts = read_json(run / METRICS_FILE)
    command = f"snakemake --cores all --configfile <config of the suite {facts['suite']}>"
    text = header(metadata(facts, read_json(manifest), reference, command))
    with replacing(output) as partial:
        partial.write_bytes(text.encode() + gzip.decompress((run / RUN).read_bytes()))
    stage.say(f"{facts['dataset']}: {facts['title']}, seed {facts['seed']}: {output}")


if __name__ == "__main__":
    stage.command(main)
