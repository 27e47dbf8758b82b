"""Plans of Snakemake by a process that stays up, as most of a dry run's time goes into imports.

The process imports Snakemake and the libraries that a plan needs, nothing of negmark, and forks a child for each plan.
The child is what `python -m snakemake` would be: the same arguments, folder and variables, through Snakemake's own
`main`, with the code of the project that it plans. A request is a line of JSON, its answer a line with the exit code.
"""

import atexit
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LIBRARIES = (
    "accelerate", "matplotlib.figure", "matplotlib.style", "numpy", "pandas", "pyarrow.parquet", "pydantic", "rich",
    "safetensors.torch", "scipy.stats", "snakemake.cli", "tabulate", "torch._meta_registrations", "transformers",
)  # fmt: skip
_running: list[subprocess.Popen[str]] = []


def plan(
    arguments: list[str], folder: Path, environment: dict[str, str], seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    """Return what `python -m snakemake` with these arguments says in a folder, and its exit code."""
    if not _running:
        _running.append(_started())
    (server,) = _running
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as place:
        said = [str(Path(place) / name) for name in ("stdout", "stderr")]
        request = {"arguments": arguments, "folder": str(folder), "environment": environment, "said": said}
        print(json.dumps(request), file=server.stdin, flush=True)
        if not select.select([server.stdout], [], [], seconds)[0]:
            _running.clear()
            server.kill()
            raise subprocess.TimeoutExpired(arguments, seconds)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, *(Path(name).read_text() for name in said))


def _started() -> subprocess.Popen[str]:
    cache = tempfile.TemporaryDirectory()
    environment = {**os.environ, "XDG_CACHE_HOME": cache.name}  # Snakemake asks for it when it is imported
    command = [sys.executable, __file__]
    server = subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def end() -> None:
        server.kill()
        server.wait()
        cache.cleanup()

    atexit.register(end)
    return server


def serve() -> None:
    """Answer requests until there is no one left to ask."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become_snakemake(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become_snakemake(arguments: list[str], folder: str, environment: dict[str, str], said: list[str]) -> Any:
    """Run Snakemake in this process, which ends with it."""
    code = 1
    try:
        for stream, name in zip((1, 2), said, strict=True):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:1] = ["", *environment.get("PYTHONPATH", "").split(os.pathsep)]
        sys.argv = ["snakemake", *arguments]
        importlib.import_module("snakemake.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
