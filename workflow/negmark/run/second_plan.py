"""After a failure: the same command once more without the failed rows, as Snakemake knows no board with a hole in it.

The command as a whole ends with an error all the same. A run forgets its record when it begins, so the same command
again tries the failed ones and no others."""

import os
import subprocess
import sys

from negmark.store.failures import PARTIAL_VARIABLE, Failure, is_partial


def go_on_without(failed: list[Failure]) -> None:
    """Run the same command again without the rows that failed, so that the others stand on a board.

    Called when Snakemake has ended with an error; does nothing where no run is recorded as failed, and nothing in the
    second plan.
    """
    if is_partial() or not failed:
        return
    print("\nFailed runs, which the board is made without now, and the same command again will try:")
    for one in failed:
        print(f"  {one.dataset}: {one.row}: {one.status}: {one.reason}")
    print(flush=True)
    command = [sys.executable, "-m", "snakemake", *sys.argv[1:], "--nolock"]
    subprocess.run(command, env={**os.environ, PARTIAL_VARIABLE: "1"}, check=False)
