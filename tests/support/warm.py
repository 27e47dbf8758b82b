"""Python modules run by a process that has the libraries imported, as most of a short job's time goes into imports.

The server imports Snakemake and the libraries of jobs, nothing of negmark, and forks a child for each request, which is
what `python -m <module>` would be: the same arguments, folder, variables and streams, with the code of its project.
Jobs of such a Snakemake ask the server as well, by a function of the shell in place of `python` (`warm_client.py`).
What a start itself does is seen by the suite that CI runs, and by the tests that kill and those that start two.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

CLIENT = Path(__file__).with_name("warm_client.py")
LIBRARIES = (
    "accelerate", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.style", "numpy",
    "pandas", "pooch", "pyarrow.parquet", "pydantic", "rich", "safetensors.torch", "scipy.sparse", "scipy.stats",
    "snakemake.cli", "tabulate", "tokenizers", "torch._subclasses.fake_tensor", "tqdm", "transformers.modeling_utils",
    "transformers.models.bert.modeling_bert", "typer",
)  # fmt: skip
_running: list["Server"] = []


class Server:
    """The process, from the test's side."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.socket = str(Path(self._folder.name) / "socket")
        # Snakemake asks for its cache when it is imported.
        environment = {**os.environ, "XDG_CACHE_HOME": self._folder.name}
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.socket], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.end = weakref.finalize(self, self._end, self._process, self._folder)

    @staticmethod
    def _end(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        folder.cleanup()


def snakemake(
    arguments: Sequence[str], folder: Path, environment: dict[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Return what `python -m snakemake` with these arguments says in a folder, and its exit code."""
    if not _running:
        _running.append(Server())
    (server,) = _running
    told = {"BASH_FUNC_python%%": shell_function(server.socket), **environment}
    words = [sys.executable, "-I", "-S", str(CLIENT), server.socket, "-m", "snakemake", *arguments]
    try:
        return subprocess.run(
            words,
            cwd=folder,
            env=told,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        _running.clear()
        server.end()
        raise


def shell_function(server: str) -> str:
    """Return the body of the shell's function `python`, as bash takes it from a variable."""
    ask = f'{sys.executable} -I -S {CLIENT} {server} "$@"'
    return f'() {{ if [ "$1" = -m ]; then case $2 in negmark.*) {ask}; return;; esac; fi; command python "$@"; }}'


def serve(place: str) -> NoReturn:
    """Answer requests until killed."""
    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if not os.fork():
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Run what is asked for in a child, and tell how it ended."""
    size, streams, *_ = socket.recv_fds(connection, 8, 3)
    asked = json.loads(connection.recv(int.from_bytes(size), socket.MSG_WAITALL))
    child = os.fork()
    if not child:
        connection.close()
        _become(streams=streams, **asked)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(
    module: str, arguments: list[str], folder: str, environment: dict[str, str], streams: Any
) -> NoReturn:
    """Run a module in this process, which ends with it."""
    code = 1
    try:
        for own, stream in enumerate(streams):
            os.dup2(stream, own)
            os.close(stream)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the server's own know of other streams if they can seek
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        here = [] if environment.get("PYTHONSAFEPATH") else [""]
        sys.path[:1] = [*here, *environment.get("PYTHONPATH", "").split(os.pathsep)]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
