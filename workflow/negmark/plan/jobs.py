"""What Snakemake would run and what it has run: the jobs of a dry run, and the times that it keeps of those done."""

import base64
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError

METADATA = Path(".snakemake/metadata")
HEAD = re.compile(r"(?:local)?rule (\w+):")


@dataclass(frozen=True)
class Job:
    """One job: its rule, its wildcards, and what it asks of the scheduler."""

    rule: str
    wildcards: Mapping[str, str]
    threads: int = 1
    memory: int = 0
    """Megabytes."""
    gpus: int = 0


def planned(suite: Mapping[str, Any], cores: int) -> list[Job]:
    """Return the jobs that are left to do of a suite, in the order in which Snakemake tells them.

    Raises `UserError` with what Snakemake says where it finds no plan.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(suite, config)
        config.flush()
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", str(cores)]
        done = subprocess.run([*command, "--configfile", config.name], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UserError(f"plan: Snakemake finds no plan: {said[-1] if said else 'it says nothing'}")
    return parsed(done.stdout + done.stderr)


def parsed(text: str) -> list[Job]:
    """Return the jobs that a dry run tells; a rule that makes nothing, as `all`, is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        if head := HEAD.fullmatch(line.strip()):  # the rules of a group stand indented
            found.append((head[1], {}))
        elif found and line.startswith("    ") and ": " in line:
            key, _, value = line.strip().partition(": ")
            found[-1][1].setdefault(key, value)
    return [_job(rule, told) for rule, told in found if "output" in told]


def _job(rule: str, told: Mapping[str, str]) -> Job:
    resources = _pairs(told.get("resources", ""))
    return Job(
        rule, _pairs(told.get("wildcards", "")), int(told.get("threads", 1)), int(resources.get("mem_mb", 0)),
        int(resources.get("gpu", 0)),
    )  # fmt: skip


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(", ") if "=" in part)


@dataclass(frozen=True)
class Done:
    """One job that was done: an output of it, its rule, and when it began and ended (seconds since 1970)."""

    output: str
    rule: str
    began: float
    ended: float


def done(metadata: Path = METADATA) -> list[Done]:
    """Return the jobs whose times Snakemake has kept, one a job; records that can't be read are left out."""
    found: dict[tuple[str, str], Done] = {}
    for record in metadata.rglob("*") if metadata.is_dir() else []:
        try:
            told = json.loads(record.read_text(encoding="utf-8"))
            output = base64.b64decode(record.name.removeprefix("@")).decode("utf-8")
            rule, began, ended = str(told["rule"]), float(told["starttime"]), float(told["endtime"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        key = rule, str(told.get("log") or output)  # a job leaves a record an output, all with its log
        known = found.get(key, Done(output, rule, began, ended))
        found[key] = Done(known.output, rule, min(began, known.began), max(ended, known.ended))
    return sorted(found.values(), key=lambda job: job.began)
