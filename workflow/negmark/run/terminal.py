"""What a person at the terminal sees of a suite: one line a job, an estimate, and the board at the end."""

import logging
import time
from collections import deque
from pathlib import Path

CHATTER = ("Select jobs to execute", "Finished jobid", "Using shell", "Building DAG")
RECENT = 20
"""Jobs whose pace is the estimate's."""
DROPPED_EVENTS = ("job_info", "job_started", "job_finished", "resources_info")


def closing_words(board: str, untuned: bool = False) -> str:
    """Return the board's summary table and where the page lies; nothing where another target was asked for.

    Where the suite was planned before its rows were tuned, it says what to do now.
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


def one_line_a_job() -> None:
    """Drop Snakemake's paragraphs about every job from the terminal; its log file keeps them.

    A dry run, `--verbose`, `--printshellcmds` and `--quiet` are left as Snakemake shows them. This looks at
    the filters that Snakemake has put on its handlers; where they are not found, nothing is changed. A log file that
    can't be written any more is no reason for a traceback a line: what the disk refuses is told by the jobs.
    """
    logging.raiseExceptions = False
    from snakemake.logging import DefaultFilter, logger

    for handler in logger.handlers:
        own = next((part for part in handler.filters if isinstance(part, DefaultFilter)), None)
        asked_for_more = own and (own.verbose or own.dryrun or own.printshellcmds or own.quiet)
        if own and not asked_for_more and not isinstance(handler, logging.FileHandler):
            handler.addFilter(OneLineAJob())


class OneLineAJob(logging.Filter):
    """Lets through what went wrong, what a job says itself, and the progress with an estimate."""

    def __init__(self) -> None:
        super().__init__()
        self._started = self._last = time.monotonic()
        self._done = 0
        self._waits: deque[float] = deque(maxlen=RECENT)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is shown; a progress record is rewritten."""
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
        told = f", about {_clock(left)} left" if left is not None else ""
        record.msg = f"{done} of {total} jobs done after {_clock(now - self._started)}{told}"
        record.event = None

    def _left(self, done: int, total: int, now: float) -> float | None:
        """Return the seconds left by the pace of the last jobs, the longest wait among them left out.

        That one is mostly the encoding's, which says nothing of the runs. None until three jobs are done.
        """
        fresh = done - self._done
        if fresh > 0:
            self._waits.extend([(now - self._last) / fresh] * fresh)
            self._last, self._done = now, done
        if len(self._waits) < 3 or done >= total:
            return None
        waits = sorted(self._waits)[:-1]
        return sum(waits) / len(waits) * (total - done)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
