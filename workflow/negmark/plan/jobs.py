"""What Snakemake would run and what it has run: the jobs of a dry run, and the recorded times of finished ones."""

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
    """One job: its rule, its wildcards, and the resources it requests."""

    rule: str
    wildcards: Mapping[str, str]
    threads: int = 1
    memory: int = 0
    """Megabytes."""
    gpus: int = 0


def planned(suite: Mapping[str, Any], cores: int) -> list[Job]:
    """Return the remaining jobs of a suite, in the order in which Snakemake lists them.

    Raises `UserError` with Snakemake's message if it finds no plan.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(suite, config)
        config.flush()
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", str(cores)]
        dry_run = subprocess.run([*command, "--configfile", config.name], capture_output=True, text=True)
    if dry_run.returncode:
        lines = [line for line in (dry_run.stdout + dry_run.stderr).splitlines() if line.strip()]
        raise UserError(f"plan: Snakemake finds no plan: {lines[-1] if lines else 'it says nothing'}")
    return parsed(dry_run.stdout + dry_run.stderr)


def parsed(text: str) -> list[Job]:
    """Return the jobs that a dry run lists, except rules without output, such as `all`."""
    jobs: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        if head := HEAD.fullmatch(line.strip()):  # the rules of a group are indented
            jobs.append((head[1], {}))
        elif jobs and line.startswith("    ") and ": " in line:
            key, _, value = line.strip().partition(": ")
            jobs[-1][1].setdefault(key, value)
    return [_job(rule, fields) for rule, fields in jobs if "output" in fields]


def _job(rule: str, fields: Mapping[str, str]) -> Job:
    resources = _pairs(fields.get("resources", ""))
    return Job(
        rule, _pairs(fields.get("wildcards", "")), int(fields.get("threads", 1)), int(resources.get("mem_mb", 0)),
        int(resources.get("gpu", 0)),
    )  # fmt: skip


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(", ") if "=" in part)


@dataclass(frozen=True)
class Done:
    """A finished job: one of its outputs, its rule, and when it began and ended (seconds since 1970)."""

    output: str
    rule: str
    began: float
    ended: float


def done(metadata: Path = METADATA) -> list[Done]:
    """Return the finished jobs that Snakemake has recorded, once each; unreadable records are skipped."""
    jobs: dict[tuple[str, str], Done] = {}
    for record in metadata.rglob("*") if metadata.is_dir() else []:
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            output = base64.b64decode(record.name.removeprefix("@")).decode("utf-8")
            rule, began, ended = str(content["rule"]), float(content["starttime"]), float(content["endtime"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        key = rule, str(content.get("log") or output)  # a job has a record per output, all with the same log
        earlier = jobs.get(key, Done(output, rule, began, ended))
        jobs[key] = Done(earlier.output, rule, min(began, earlier.began), max(ended, earlier.ended))
    return sorted(jobs.values(), key=lambda job: job.began)
