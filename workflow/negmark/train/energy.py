"""Energy from hardware counters: RAPL of the CPU packages, NVML of the GPUs.

Both count the whole device, so other work on it at the same time is included. RAPL is what Linux shows below
`/sys/class/powercap` on Intel and AMD; many machines, virtual ones above all, have none or let only root read it. NVML
needs the package nvidia-ml-py. If any working device has no counter, the total is unknown (never a partial sum).
"""

import sys
from pathlib import Path
from typing import NamedTuple

RAPL = Path("/sys/class/powercap")


class Reading(NamedTuple):
    """One counter: joules since some moment in the past, and the value at which it wraps to 0."""

    joules: float
    wraps_at: float


Readings = dict[str, Reading]


def read(rapl: Path = RAPL) -> Readings | None:
    """Return all counters by device name, or None if the energy can't be known."""
    try:
        return {**_packages(rapl), **_gpus()}
    except (OSError, ValueError, ImportError):
        return None


def spent(before: Readings | None, after: Readings | None) -> float | None:
    """Return the joules between two readings; None if one is unknown or their devices differ."""
    if not before or not after or before.keys() != after.keys():
        return None
    differences = {name: after[name].joules - before[name].joules for name in after}
    return sum(
        joules if joules >= 0 else joules + after[name].wraps_at for name, joules in differences.items()
    )


def _packages(rapl: Path) -> Readings:
    """Read the CPU packages; raises OSError if there is none or it may not be read."""
    folders = sorted(folder for folder in rapl.glob("intel-rapl:*") if folder.name.count(":") == 1)
    packages = {folder.name: Reading(_joules(folder, "energy_uj"), _range(folder)) for folder in folders}
    if not packages:
        raise FileNotFoundError(rapl)
    return packages


def _range(folder: Path) -> float:
    return _joules(folder, "max_energy_range_uj")


def _joules(folder: Path, name: str) -> float:
    return int((folder / name).read_text()) / 1e6


def _gpus() -> Readings:
    """Read the GPUs that torch works on, if any; NVML counts millijoules since the driver started."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByUUID(_uuid(torch, index))
            for index in range(torch.cuda.device_count())
        ]
        counters = [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3 for handle in handles]
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from error
    return {f"card {index}": Reading(joules, 0.0) for index, joules in enumerate(counters)}


def _uuid(torch: object, index: int) -> str:
    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"  # type: ignore[attr-defined]
