"""Small disks to fill and to make read-only; tests that need one are skipped where nothing may be mounted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BLOCK = 4096


class Disk:
    """A disk in memory of `size` bytes at a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / ".filler"

    def fill(self, left: int = 0) -> None:
        """Fill it up but for `left` bytes; a disk that has been filled before gets its rest filled."""
        content = bytes(BLOCK)
        with self._filler.open("ab", buffering=0) as stream:
            try:
                while True:
                    stream.write(content)
            except OSError:
                pass
            stream.truncate(max(stream.tell() - left, 0))

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def read_only(self, yes: bool = True) -> None:
        """Let nobody write on it, root included, or let them again."""
        remount(self.folder, "ro" if yes else "rw")


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a disk of `size` bytes at a new folder, and take it away at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` on this machine")
    if done.returncode:
        pytest.skip(f"nothing may be mounted here ({done.stderr.strip()})")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def used(folder: Path) -> int:
    """Return the bytes that the files below a folder take, in whole blocks; a file with two names takes them once."""
    found = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return sum(-(-size // BLOCK) * BLOCK for size in found.values())


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".partial-")]
