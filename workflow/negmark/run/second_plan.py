"""After a failure: the same command once more without the failed rows, as Snakemake can't make a board with gaps.

The command as a whole still ends with an error. A run's failure record is removed when the run starts, so the same
command again retries only the failed ones."""

import os
import subprocess
import sys

from negmark.store.failures import PARTIAL_VARIABLE, Failure, is_partial


def go_on_without(failed: list[Failure]) -> None:
    """Run the same command again without the failed rows, so that the others make a board.

    Called when Snakemake has ended with an error; does nothing if no run is recorded as failed, or in the second
    plan itself.
    """
    if is_partial() or not failed:
        return
    print("\nFailed runs, which the board is made without now, and the same command again will try:")
    for failure in failed:
        print(f"  {failure.dataset}: {failure.row}: {failure.status}: {failure.reason}")
    print(flush=True)
    command = [sys.executable, "-m", "snakemake", *sys.argv[1:], "--nolock"]
    subprocess.run(command, env={**os.environ, PARTIAL_VARIABLE: "1"}, check=False)
