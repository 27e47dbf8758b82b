"""Time of a run, split into the shared loop and the method's own part."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from negmark.train import energy

COUNTED = ("own_wall", "own_cpu", "total_wall", "total_cpu", "joules")


@dataclass
class Clock:
    """Seconds of a run over all its sessions: a resumed run continues counting.

    `own` is spent inside the method's functions (choice of negatives, refreshes, its loss, its observations),
    so the shared loss counts as `own` too; the rest of the loop is `shared`.
    """

    own_wall: float = 0.0
    own_cpu: float = 0.0
    total_wall: float = 0.0
    total_cpu: float = 0.0
    joules: float | None = 0.0
    """Energy of the loop, None if the hardware doesn't report it (`negmark.train.energy`)."""
    _since: tuple[float, float] = field(default_factory=lambda: _now(), repr=False)
    _counters: energy.Readings | None = field(default_factory=lambda: energy.read(), repr=False)

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Count the block as the method's own."""
        wall, cpu = _now()
        yield
        end = _now()
        self.own_wall += end[0] - wall
        self.own_cpu += end[1] - cpu

    def start(self) -> None:
        """Start counting the loop, at the first step of this session."""
        self._since, self._counters = _now(), energy.read()

    def stop(self) -> None:
        """Add the time and energy since the last call of `start` or `stop`."""
        now = _now()
        self.total_wall += now[0] - self._since[0]
        self.total_cpu += now[1] - self._since[1]
        counters = energy.read()
        joules = energy.spent(self._counters, counters)
        self.joules = None if joules is None or self.joules is None else self.joules + joules
        self._since, self._counters = now, counters

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the block from the run's time and energy."""
        self.stop()
        yield
        self.start()

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return wall and CPU seconds of the whole loop and of both parts, to a thousandth."""
        own, total = (self.own_wall, self.own_cpu), (self.total_wall, self.total_cpu)
        shared = (total[0] - own[0], total[1] - own[1])
        parts = {"training": total, "own": own, "shared": shared}
        return {
            part: {"wall_seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}
            for part, (wall, cpu) in parts.items()
        }

    def state_dict(self) -> dict[str, float | None]:
        """Return what a resumed run continues from."""
        return {name: getattr(self, name) for name in COUNTED}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """Restore what `state_dict` returned."""
        for name in COUNTED:
            setattr(self, name, state[name])


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
