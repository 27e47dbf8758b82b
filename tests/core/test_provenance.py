"""What a result came from and what it cost."""

import json
import platform
import re
import subprocess
import time
from importlib.metadata import version

import numpy as np
import pytest

from builders import ROOT
from negmark.core import provenance
from negmark.core.provenance import Cost, code_version, environment, process_cost, sources_sha256
from negmark.core.source_files import sources


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "b.py").write_text("b = 2\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def test_code_version_is_the_commit_and_says_when_files_differ(repository):
    commit = subprocess.check_output(["git", "-C", str(repository), "rev-parse", "HEAD"], text=True).strip()
    assert code_version() == commit
    (repository / "new.txt").write_text("not part of the code\n")
    assert code_version() == commit
    (repository / "a.py").write_text("a = 3\n")
    assert code_version() == f"{commit}+changes"


def test_code_version_without_git_is_the_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_version() == version("negmark")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == version("negmark")


def test_sources_hash_sees_content_and_names_but_not_order(repository):
    a, b = str(repository / "a.py"), str(repository / "b.py")
    both = sources_sha256([a, b])
    assert sources_sha256([b, a]) == both
    assert sources_sha256([a]) != both
    (repository / "a.py").write_text("a = 2\n")
    changed = sources_sha256([a, b])
    assert changed != both
    (repository / "a.py").write_text("b = 2\n")
    (repository / "b.py").write_text("a = 2\n")  # the same contents under each other's name
    assert sources_sha256([a, b]) not in (both, changed)


def test_sources_hash_is_the_same_from_every_folder(tmp_path, monkeypatch):
    found = set()
    for folder in (ROOT, ROOT.parent, ROOT / "workflow", tmp_path):
        monkeypatch.chdir(folder)
        found.add(sources_sha256(sources("negmark.train.train")))
    assert len(found) == 1


def test_cost_tells_waiting_from_working():
    with process_cost() as waited:
        time.sleep(0.2)
    assert 0.2 <= waited.wall_seconds < 2
    assert waited.cpu_seconds < 0.1
    with process_cost() as worked:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert worked.cpu_seconds >= 0.1


def test_peak_memory_is_in_mebibytes():
    with process_cost() as before:
        pass
    with process_cost() as after:
        block = np.ones((int(before.peak_mebibytes) + 64) * 2**20, dtype=np.uint8)  # above any peak so far
        block[::4096] += 1
    grown = after.peak_mebibytes - before.peak_mebibytes
    assert grown > 32
    assert after.peak_mebibytes < 2.5 * before.peak_mebibytes + 512


def test_cost_is_rounded_to_a_thousandth():
    assert Cost(1.23456, 0.0004, 99.9999).as_dict() == {
        "wall_seconds": 1.235,
        "cpu_seconds": 0.0,
        "peak_mebibytes": 100.0,
    }


def test_environment_names_versions_and_hardware_and_no_person_or_host():
    found = environment()
    assert found["packages"]["torch"] == version("torch")
    assert found["packages"]["faiss-cpu"] == version("faiss-cpu")
    assert set(found["packages"]) == set(provenance.PACKAGES)
    assert found["python"] == platform.python_version()
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|[0-9.]+", found["code"])
    assert found["hardware"]["memory_gibibytes"] > 0.5
    assert set(found["hardware"]) == {"cpu", "cores", "gpus", "memory_gibibytes", "machine", "system"}
    json.dumps(found, allow_nan=False)


def test_package_that_is_not_there_is_absent(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package-here"))
    assert environment()["packages"]["no-such-package-here"] == "absent"
