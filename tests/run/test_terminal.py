"""The estimate at the terminal, worked out by hand."""

import logging
from types import SimpleNamespace

import pytest

from negmark.run import terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def told(shown: terminal.OneLinePerJob, done: int, total: int) -> str:
    record = logging.makeLogRecord(
        {"levelno": logging.INFO, "event": SimpleNamespace(value="progress"), "done": done, "total": total}
    )
    assert shown.filter(record)
    return str(record.msg)


def test_the_longest_wait_is_left_out_of_an_estimate(clock: list[float]) -> None:
    shown, said = terminal.OneLinePerJob(), []
    for done, passed in ((1, 60.0), (2, 62.0), (3, 66.0), (5, 72.0), (10, 82.0)):
        clock[0] = 100.0 + passed
        said.append(told(shown, done, 10))
    assert said == [
        "1 of 10 jobs done after 1:00",
        "2 of 10 jobs done after 1:02",
        "3 of 10 jobs done after 1:06, about 0:21 left",  # 7 jobs of (2 + 4) / 2 s each
        "5 of 10 jobs done after 1:12, about 0:15 left",  # 5 of (2 + 4 + 3 + 3) / 4 s
        "10 of 10 jobs done after 1:22",
    ]


def test_only_the_last_jobs_count(clock: list[float]) -> None:
    shown = terminal.OneLinePerJob()
    for done in range(1, 51):
        clock[0] += 10.0 if done <= 20 else 1.0
        line = told(shown, done, 100)
    assert line.endswith("about 0:50 left")
