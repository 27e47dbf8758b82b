"""What a result came from and what it cost: versions, hardware, seconds, memory."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from negmark.core.source_files import ROOT

PACKAGES = (
    "bm25s", "faiss-cpu", "numpy", "pytrec-eval-terrier", "snakemake", "tokenizers", "torch", "transformers",
)  # fmt: skip


@dataclass
class Cost:
    """What a stretch of work took in this process."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mebibytes: float = 0.0
    """Highest resident memory of the process so far, all that was loaded before included."""

    def as_dict(self) -> dict[str, float]:
        """Return the figures, rounded to a thousandth."""
        return {key: round(value, 3) for key, value in asdict(self).items()}


@contextlib.contextmanager
def process_cost() -> Iterator[Cost]:
    """Measure the block; the `Cost` it gives is filled when the block ends."""
    cost, wall, cpu = Cost(), time.perf_counter(), time.process_time()
    yield cost
    cost.wall_seconds = time.perf_counter() - wall
    cost.cpu_seconds = time.process_time() - cpu
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024  # ru_maxrss is in bytes on macOS alone
    cost.peak_mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def environment() -> dict[str, Any]:
    """Return package versions, the code's version and the hardware of this process."""
    return {
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "code": code_version(),
        "hardware": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "gpus": _gpu_names(),
            "memory_gibibytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "machine": platform.machine(),
            "system": platform.system(),
        },
    }


def code_version() -> str:
    """Return the commit of the working tree, marked `+changes` where files differ, else the package's version.

    Boards are no code: one that is being rebuilt over the committed one changes nothing of what it came from.
    """
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(ROOT)]
        commit = subprocess.check_output(
            [*command, "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL
        )
        status = [*command, "status", "--porcelain", "-uno", "--", ".", ":!results"]
        changes = subprocess.check_output(status, text=True)
        return commit.strip() + ("+changes" if changes.strip() else "")
    return _version("negmark")


def sources_sha256(files: list[str]) -> str:
    """Return a SHA-256 over source files, by name and content, from whichever folder they are named."""
    digest = hashlib.sha256()
    for path in sorted(Path(name).resolve() for name in files):
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
        digest.update(str(name).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _version(package: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return "absent"


def _gpu_names() -> list[str]:
    """Return the names of the cards that torch sees; none where the process has no use for torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
