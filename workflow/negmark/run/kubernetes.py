"""Jobs of Snakemake's as jobs of Kubernetes: what `profiles/kubernetes` gives to the executor plugin cluster-generic.

Snakemake's own plugin for Kubernetes keeps all files in an object store, while the stages here read whole folders. So
project and cache lie on a volume that all nodes mount (ReadWriteMany), at the same path as where Snakemake runs, and a
pod runs the job's script there. What is to be done, again or not, is Snakemake's business alone: no job is restarted
here (backoffLimit 0).
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from negmark.core.errors import UserError

IMAGE, CLAIM, MOUNT = "NEGMARK_K8S_IMAGE", "NEGMARK_K8S_CLAIM", "NEGMARK_K8S_MOUNT"
NEEDED = {
    IMAGE: "the image with what this project needs",
    CLAIM: "the PersistentVolumeClaim (ReadWriteMany) with project and cache",
    MOUNT: "the folder at which that volume is mounted, here and in every pod",
}
KEPT_S = 86_400
"""Seconds that an ended job is kept for a look at it."""
app = typer.Typer(add_completion=False, no_args_is_help=True)


def manifest(
    name: str, script: Path, cores: int, memory: int, gpus: int, minutes: int, places: Mapping[str, str]
) -> dict[str, Any]:
    """Return the Kubernetes job of a script; memory in MB, `places` the variables of the environment."""
    needs = {"cpu": str(cores), "memory": f"{memory}M", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    handed = {key: value for key, value in sorted(places.items()) if key.startswith("NEGMARK_")}
    container = {
        "name": "negmark",
        "image": places[IMAGE],
        "command": ["bash", str(script)],
        "workingDir": str(Path.cwd()),
        "env": [{"name": key, "value": value} for key, value in handed.items()],
        "resources": {"requests": needs, "limits": needs},
        "volumeMounts": [{"name": "project", "mountPath": places[MOUNT]}],
    }
    volume = {"name": "project", "persistentVolumeClaim": {"claimName": places[CLAIM]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app": "negmark"}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 60 * minutes,
            "ttlSecondsAfterFinished": KEPT_S,
            "template": {
                "metadata": {"labels": {"app": "negmark"}},
                "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]},
            },
        },
    }


def state(told: str) -> str:
    """Return success, failed or running from what `kubectl get job --ignore-not-found -o json` prints."""
    if not told.strip():
        return "failed"  # it was deleted
    for condition in json.loads(told).get("status", {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            return "success" if condition["type"] == "Complete" else "failed"
    return "running"


@app.command()
def submit(
    script: Path,
    cores: Annotated[int, typer.Option(help="cores of the pod")] = 1,
    memory: Annotated[int, typer.Option(help="its memory in MB; over it the pod is killed")] = 2000,
    gpus: Annotated[int, typer.Option(help="GPUs of the pod")] = 0,
    minutes: Annotated[int, typer.Option(help="after which it is ended")] = 60,
) -> None:
    """Submit a job's script and print the name of the Kubernetes job."""
    if missing := [f"{name} ({told})" for name, told in NEEDED.items() if not os.environ.get(name)]:
        raise UserError(f"profiles/kubernetes: set {', '.join(missing)}")
    name = f"negmark-{uuid.uuid4().hex[:12]}"
    made = manifest(name, script.resolve(), cores, memory, gpus, minutes, os.environ)
    done = subprocess.run(
        ["kubectl", "create", "-f", "-"], input=json.dumps(made), text=True, capture_output=True
    )
    if done.returncode:
        raise UserError(f"kubectl create: {done.stderr.strip()}")
    print(name)


@app.command()
def status(name: str) -> None:
    """Print success, failed or running; running too where Kubernetes doesn't answer, which is asked again."""
    command = ["kubectl", "get", "job", name, "--ignore-not-found", "-o", "json"]
    done = subprocess.run(command, text=True, capture_output=True)
    print("running" if done.returncode else state(done.stdout))


if __name__ == "__main__":
    try:
        app()
    except UserError as error:
        sys.exit(f"{error}")
