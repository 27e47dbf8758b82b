"""A suite through the kubernetes profile and a stand-in for kubectl ends as it does without."""

import os
from collections import Counter
from pathlib import Path

import pytest

from builders import ROOT
from tiny import measured_apart, overlapping, scheduled, snakemake


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_suite_runs_through_a_stand_in_for_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="pip install -e .[kubernetes]")
    jobs, local, far = (tmp_path / name for name in ("jobs", "local", "far"))
    jobs.mkdir()
    snakemake(overlapping(local))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").symlink_to(ROOT / "tests" / "support" / "kubectl")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECTL_JOBS", str(jobs))
    for name, value in (("IMAGE", "image:1"), ("CLAIM", "claim"), ("MOUNT", "/volume")):
        monkeypatch.setenv(f"NEGMARK_K8S_{name}", value)
    snakemake(
        overlapping(far), "--workflow-profile", "profiles/kubernetes", "--latency-wait", "5", "--jobs", "2",
        "--max-threads", "2", seconds=850,
    )  # fmt: skip
    codes = Counter(path.read_text().strip() for path in jobs.glob("*.rc"))
    print(f"jobs: {dict(codes)}")
    assert set(codes) == {"0"}
    assert codes["0"] > 10
    assert measured_apart(far) == measured_apart(local)
    assert scheduled(far) == set()
