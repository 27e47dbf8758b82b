"""Energy by the counters that the hardware has: RAPL of the CPU packages, NVML of the cards.

Both count the whole device, so work that others do on it meanwhile is in the figure. RAPL is what Linux shows below
`/sys/class/powercap` on Intel and AMD; many machines, virtual ones above all, have none or let only root read it. NVML
needs the package nvidia-ml-py. Where a device that works has no counter, the energy is unknown, and never a part of it.
"""

import sys
from pathlib import Path
from typing import NamedTuple

RAPL = Path("/sys/class/powercap")


class Reading(NamedTuple):
    """One counter: joules since some moment in the past, and the value at which it starts again from 0."""

    joules: float
    wraps_at: float


Readings = dict[str, Reading]


def read(rapl: Path = RAPL) -> Readings | None:
    """Read all counters by the name of their device, or None where the energy can't be known."""
    try:
        return {**_packages(rapl), **_cards()}
    except (OSError, ValueError, ImportError):
        return None


def spent(before: Readings | None, after: Readings | None) -> float | None:
    """Return the joules between two readings; None where one is unknown or they are of other devices."""
    if not before or not after or before.keys() != after.keys():
        return None
    gone = {name: after[name].joules - before[name].joules for name in after}
    return sum(joules if joules >= 0 else joules + after[name].wraps_at for name, joules in gone.items())


def _packages(rapl: Path) -> Readings:
    """Read the CPU packages; raises OSError where there is none or it may not be read."""
    folders = sorted(folder for folder in rapl.glob("intel-rapl:*") if folder.name.count(":") == 1)
    found = {folder.name: Reading(_joules(folder, "energy_uj"), _range(folder)) for folder in folders}
    if not found:
        raise FileNotFoundError(rapl)
    return found


def _range(folder: Path) -> float:
    return _joules(folder, "max_energy_range_uj")


def _joules(folder: Path, name: str) -> float:
    return int((folder / name).read_text()) / 1e6


def _cards() -> Readings:
    """Read the cards that torch works on, none where it has none; NVML counts millijoules since the driver started."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByUUID(_uuid(torch, place))
            for place in range(torch.cuda.device_count())
        ]
        counted = [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3 for handle in handles]
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from error
    return {f"card {place}": Reading(joules, 0.0) for place, joules in enumerate(counted)}


def _uuid(torch: object, place: int) -> str:
    return f"GPU-{torch.cuda.get_device_properties(place).uuid}"  # type: ignore[attr-defined]
