"""What a suite shows on the terminal: one line per job, the time left, and the board at the end."""

import logging
import time
from collections import deque
from pathlib import Path

from negmark.core.notation import clock

CHATTER = ("Select jobs to execute", "Finished jobid", "Using shell", "Building DAG")
RECENT = 20
"""Number of last jobs that the estimate is based on."""
DROPPED_EVENTS = ("job_info", "job_started", "job_finished", "resources_info")


def closing_words(board: str, untuned: bool = False) -> str:
    """Return the board's summary table and the address of its page; empty if the board wasn't made.

    If the suite was planned before its rows were tuned, say what to do now.
    """
    folder = Path(board)
    if untuned:
        return (
            f"\nTuned: {folder / 'tuned.json'}. The same command again makes the board with the tuned rows.\n"
        )
    if not (folder / "summary.txt").is_file():
        return ""
    table = (folder / "summary.txt").read_text(encoding="utf-8")
    return f"\n{table.rstrip()}\n\nThe board: {(folder / 'leaderboard.html').resolve().as_uri()}\n"


def one_line_per_job() -> None:
    """Drop Snakemake's paragraph about each job from the terminal; its log file keeps them.

    A dry run, `--verbose`, `--printshellcmds` and `--quiet` are left as Snakemake shows them. This finds the filters
    that Snakemake has put on its handlers; if there are none, nothing changes. A log file that can no longer be
    written is no reason for a traceback per line: the jobs report a full disk themselves.
    """
    logging.raiseExceptions = False
    from snakemake.logging import DefaultFilter, logger

    for handler in logger.handlers:
        own = next((part for part in handler.filters if isinstance(part, DefaultFilter)), None)
        asked_for_more = own and (own.verbose or own.dryrun or own.printshellcmds or own.quiet)
        if own and not asked_for_more and not isinstance(handler, logging.FileHandler):
            handler.addFilter(OneLinePerJob())


class OneLinePerJob(logging.Filter):
    """Lets through errors, what a job itself prints, and the progress with an estimate."""

    def __init__(self) -> None:
        super().__init__()
        self._started = self._last = time.monotonic()
        self._done = 0
        self._waits: deque[float] = deque(maxlen=RECENT)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a record; a progress record is rewritten."""
        if record.levelno >= logging.WARNING:
            return True
        event = str(getattr(getattr(record, "event", ""), "value", ""))
        if event == "progress":
            self._rewrite(record)
            return True
        return event not in DROPPED_EVENTS and not str(record.msg).startswith(CHATTER)

    def _rewrite(self, record: logging.LogRecord) -> None:
        done, total = record.__dict__["done"], record.__dict__["total"]
        now = time.monotonic()
        left = self._left(done, total, now)
        estimate = f", about {clock(left)} left" if left is not None else ""
        record.msg = f"{done} of {total} jobs done after {clock(now - self._started)}{estimate}"
        record.event = None

    def _left(self, done: int, total: int, now: float) -> float | None:
        """Return the seconds left at the pace of the last jobs, without the longest wait among them.

        That one is mostly the encoding, which says nothing about the runs. None until three jobs are done.
        """
        new = done - self._done
        if new > 0:
            self._waits.extend([(now - self._last) / new] * new)
            self._last, self._done = now, done
        if len(self._waits) < 3 or done >= total:
            return None
        waits = sorted(self._waits)[:-1]
        return sum(waits) / len(waits) * (total - done)
