"""When Snakemake looks for jobs to start."""

from types import SimpleNamespace

import pytest
from snakemake.settings.types import MaxJobsPerTimespan, SchedulingSettings

from negmark.run.scheduling import only_when_a_job_ends


@pytest.mark.parametrize(("local", "timed"), [(True, False), (False, True)])
def test_a_limit_of_jobs_a_second_holds_for_a_cluster_alone(local: bool, timed: bool) -> None:
    settings = SchedulingSettings(max_jobs_per_timespan=MaxJobsPerTimespan(100, "1s"))
    only_when_a_job_ends(SimpleNamespace(scheduling_settings=settings, local_exec=local))
    assert (settings.max_jobs_per_timespan is not None) is timed


def test_where_nothing_is_scheduled_nothing_is_changed() -> None:
    only_when_a_job_ends(SimpleNamespace(scheduling_settings=None, local_exec=True))
