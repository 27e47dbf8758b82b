"""When Snakemake looks for jobs to start."""

from types import SimpleNamespace

import pytest

from negmark.run.scheduling import only_when_a_job_ends


@pytest.mark.parametrize("local", [True, False])
def test_a_limit_of_jobs_a_second_holds_for_a_cluster_alone(local: bool) -> None:
    scheduler = SimpleNamespace(job_rate_limiter="100 a second")
    only_when_a_job_ends(SimpleNamespace(scheduler=scheduler, local_exec=local))
    assert scheduler.job_rate_limiter == (None if local else "100 a second")
