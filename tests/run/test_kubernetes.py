"""Jobs for Kubernetes: their manifests, and what is made of its answers."""

import json
from pathlib import Path

import pytest

from negmark.core.errors import UserError
from negmark.run import kubernetes

PLACES = {
    "NEGMARK_K8S_IMAGE": "image:1", "NEGMARK_K8S_CLAIM": "claim", "NEGMARK_K8S_MOUNT": "/volume",
    "NEGMARK_CACHE": "/volume/cache", "HOME": "/root",
}  # fmt: skip


def test_a_manifest_asks_for_what_a_rule_asks_for() -> None:
    made = kubernetes.manifest("n", Path("/volume/job.sh"), 4, 29163, 2, 90, PLACES)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "29163M", "nvidia.com/gpu": "2"}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["command"] == ["bash", "/volume/job.sh"]
    assert {one["name"] for one in container["env"]} == PLACES.keys() - {"HOME"}
    assert (made["spec"]["activeDeadlineSeconds"], made["spec"]["backoffLimit"]) == (5400, 0)
    (volume,) = made["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": "claim"}
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/volume"}]


def test_a_job_without_gpus_asks_for_none() -> None:
    made = kubernetes.manifest("n", Path("/volume/job.sh"), 1, 100, 0, 1, PLACES)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (None, "running"),
        ([{"type": "Suspended", "status": "False"}], "running"),
        ([{"type": "Complete", "status": "False"}], "running"),
        (
            [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
            "success",
        ),
        ([{"type": "FailureTarget", "status": "True"}], "running"),
        ([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}], "failed"),
    ],
)
def test_states(conditions: list | None, said: str) -> None:
    assert kubernetes.state(json.dumps({"status": {"conditions": conditions}})) == said


def test_a_job_that_is_gone_has_failed() -> None:
    assert kubernetes.state("") == "failed"


def test_what_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGMARK_K8S_IMAGE", "image:1")
    monkeypatch.delenv("NEGMARK_K8S_CLAIM", raising=False)
    monkeypatch.delenv("NEGMARK_K8S_MOUNT", raising=False)
    with pytest.raises(
        UserError, match=r"^profiles/kubernetes: set NEGMARK_K8S_CLAIM \(the .*\), NEGMARK_K8S_MOUNT"
    ):
        kubernetes.submit(Path("job.sh"))
