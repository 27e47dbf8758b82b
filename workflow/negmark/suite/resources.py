"""What jobs ask of a machine or a scheduler: cores, GPUs, a launcher, a group."""

from negmark.suite.rows import Row
from negmark.suite.suite import Suite

MEASURED = "measured"
"""The group of evaluations; profiles say how many go together."""


class Resources:
    """What the jobs of a suite ask for."""

    def __init__(self, suite: Suite) -> None:
        self._gpu = suite.gpu

    def gpus(self, row: Row | None = None) -> int:
        """Return how many GPUs a job that encodes, or one that trains a row, asks the scheduler for."""
        processes = row.processes if row else 1
        return processes if self._gpu else 0

    def evaluation_gpus(self, row: Row) -> int:
        """Return how many GPUs the evaluation of a row asks for: one where it encodes."""
        return int(self._gpu and row.tier.reads_texts)

    def group(self, row: Row) -> str | None:
        """Return the group in which a row's evaluations go several to one job of a scheduler: short ones alone do."""
        return None if self.evaluation_gpus(row) else MEASURED

    def launcher(self, row: Row) -> str:
        """Return the command that runs a module: accelerate's launcher where a run has several processes.

        That starts several on GPUs alone; under torch's own, accelerate finds them on CPUs as well.
        """
        if row.processes == 1:
            return "python -m"
        if self._gpu:
            return (
                f"accelerate launch --multi_gpu --num_machines 1 --num_processes {row.processes} --mixed_precision no"
                " --dynamo_backend no --module"
            )
        return f"python -m torch.distributed.run --standalone --nproc_per_node {row.processes} -m"
