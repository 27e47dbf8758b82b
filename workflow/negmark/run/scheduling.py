"""How often Snakemake looks for jobs to start."""

from typing import Any


def only_when_a_job_ends(workflow: Any) -> None:
    """Let a local run choose jobs when one has ended, not also once a second for each that ever did.

    Snakemake keeps to a limit of jobs a second by a timer after each choice; as each job's end makes a choice too, the
    timers grow in number. A choice asks for the size of every file that a waiting job reads: with 260 jobs to do, the
    main process took a fifth of a core. A cluster's run keeps its limit, which spares the cluster. To be called when
    the scheduler is there, as in `onstart`.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
