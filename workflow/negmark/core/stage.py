"""The frame around every stage: a command line from a function's signature, a log, and errors in one line."""

import functools
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer
from tqdm import tqdm

from negmark.core.errors import UserError, printable
from negmark.core.failure_record import forget, record_error
from negmark.core.files import is_unwritable, unwritable
from negmark.core.run_lock import end_with_the_run

LOG_VARIABLE = "NEGMARK_LOG"
SECONDS_BETWEEN_LINES = 5.0
Item = TypeVar("Item")


def command(function: Callable[..., None]) -> None:
    """Run a stage's function as a command; its parameters become options, its docstring the help.

    The log goes to the file named by NEGMARK_LOG (the terminal otherwise). A `UserError` ends the command
    with one line on the terminal and status 1; a bug leaves its traceback in the log and names the log.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(_guarded(function))
    app()


def _guarded(function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        end_with_the_run()
        show_any_sign()
        log = os.environ.get(LOG_VARIABLE)
        try:
            _log_to(Path(log) if log else None)
            forget(log)
            function(*arguments, **options)
        except Exception as error:
            raise typer.Exit(_report(error, log)) from None

    return guarded


def _report(error: Exception, log: str | None) -> int:
    """Report the error that ends a stage, record it if the workflow wants that, and return the exit code."""
    if is_unwritable(error):
        paths = [getattr(error, name, None) for name in ("filename2", "filename")]
        error = unwritable(error, Path(paths[0] or paths[1] or Path.cwd()))
    if isinstance(error, UserError):
        _log_error(str(error), log)
    else:
        _log_error(f"{type(error).__name__}: {error} (full report: {log})", log, traceback.format_exc())
    return record_error(error, log)


def _log_error(line: str, log: str | None, report: str = "") -> None:
    """Write an error to the log, with its traceback if it has one, and to the terminal in one line."""
    logging.getLogger(__name__).error("%s", report or line)
    if log:
        print(f"error: {line}", file=sys.stderr, flush=True)


def _log_to(path: Path | None) -> None:
    logging.raiseExceptions = (
        False  # a log that can no longer be written is no reason to stop, or for a traceback
    )
    try:
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
        _write_log(logging.FileHandler(path, mode="w") if path else logging.StreamHandler())
    except OSError:
        _write_log(logging.NullHandler())
        raise


def _write_log(handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)


def show_any_sign() -> None:
    """Let a terminal without UTF-8 show `?` for a sign that it lacks, as the lines of a table: no print ends a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(line: str) -> None:
    """Write one line about what was done to the terminal and to the log."""
    line = printable(line)
    logging.getLogger("negmark").info("%s", line)
    if os.environ.get(LOG_VARIABLE):
        print(f"  {line}", file=sys.stderr, flush=True)


def progress(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Yield the items and show progress on the terminal; short work shows nothing."""
    with bar(len(items), what) as shown:
        for item in items:
            yield item
            shown.update()


def bar(total: int, what: str, unit: str = "it") -> Any:
    """Return a tqdm bar that writes a line with an estimate every few seconds.

    A bar that overwrites itself gets garbled when several jobs share a terminal, and fills a log file.
    """
    return tqdm(
        total=total,
        unit=unit,
        unit_scale=unit != "it",
        file=_Lines(),
        mininterval=SECONDS_BETWEEN_LINES,
        delay=SECONDS_BETWEEN_LINES,
        bar_format=f"  {what}: {{percentage:.0f}} %, {{rate_fmt}}, {{remaining}} left",
        leave=False,
        disable=False,
    )


class _Lines(io.TextIOBase):
    """Turns the states that tqdm overwrites into lines on the terminal."""

    def write(self, text: str) -> int:
        line = text.replace("\r", "").rstrip()
        if line.strip():
            print(line, file=sys.stderr, flush=True)
        return len(text)
