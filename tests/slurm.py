"""A real SLURM of one node on this machine, in a folder of its own, for as long as a test takes.

Needs root, and Debian's packages slurm-wlm and munge; tests skip and say so where they are missing. Keys, sockets,
ports and logs are the cluster's own, in its folder. Outside of it there is only, meanwhile, a link to its configuration
where SLURM looks for one, as jobs start without the variable that names another; where one is already, tests skip.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

PLACE = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
CONFIG = """
ClusterName=negbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=30
KillWait=5
OverTimeLimit=0
MailProg=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A SLURM with one node; commands find it by `environment`."""

    def __init__(self, folder: Path, cores: int = 2) -> None:
        self.folder, self.cores = folder, cores
        memory = psutil.virtual_memory().total // 2**20 - 1000
        control, node = free_ports(2)
        folder.mkdir(mode=0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        text = CONFIG.format(
            host=socket.gethostname(), control=control, node=node, folder=folder, cores=cores, memory=memory
        )
        (folder / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        PLACE.parent.mkdir(exist_ok=True)
        PLACE.symlink_to(self.folder / "slurm.conf")
        self._start_munge()
        self._run("slurmctld", "-D", "-i")
        self.start_node()

    def start_node(self) -> None:
        """Start the node's daemon, and wait until the node takes jobs."""
        self._run("slurmd", "-D")
        self._wait(lambda: self.call("sinfo", "-h", "-o", "%T").strip() in {"idle", "mixed", "allocated"})

    def stop_node(self) -> None:
        """Stop the node's daemon; its jobs go on."""
        self._end("slurmd")

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons."""
        subprocess.run(["scancel", "--user", "root"], env=self.environment, capture_output=True, timeout=60)
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)
        PLACE.unlink(missing_ok=True)

    def call(self, *command: str) -> str:
        """Return what a command of SLURM's prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout

    def jobs(self, states: str = "RUNNING", names: str = "") -> list[str]:
        """Return the numbers of the jobs in some states whose comment holds a text: Snakemake puts the rule there."""
        lines = self.call("squeue", "-h", "-t", states, "-o", "%i %k").splitlines()
        return [line.split()[0] for line in lines if names in line]

    def _start_munge(self) -> None:
        folder, user = self.folder / "munge", pwd.getpwnam("munge")
        folder.mkdir(mode=0o700)
        (folder / "key").write_bytes(secrets.token_bytes(128))
        (folder / "key").chmod(0o400)
        for path in (folder, folder / "key"):
            os.chown(path, user.pw_uid, user.pw_gid)
        self.folder.chmod(0o1777)  # the socket of munge lies where everybody may look for it
        self._run(
            "munged", "--foreground", f"--key-file={folder}/key", f"--socket={self.folder}/munge.socket",
            f"--pid-file={folder}/pid", f"--log-file={folder}/log", f"--seed-file={folder}/seed", user="munge",
        )  # fmt: skip
        self._wait(lambda: (self.folder / "munge.socket").exists())

    def _run(self, program: str, *options: str, user: str = "") -> None:
        before = ["runuser", "-u", user, "--"] if user else []
        with (self.folder / f"{program}.out").open("ab") as out:
            self._running[program] = subprocess.Popen(
                [*before, shutil.which(program) or program, *options],
                env=self.environment, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, ready: "object", seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not ready():  # type: ignore[operator]
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.2)

    def told(self) -> str:
        """Return the ends of all logs."""
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [int(found.getsockname()[1]) for found in sockets]
    finally:
        for found in sockets:
            found.close()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster, or skip the test and say what to install."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        pytest.skip(f"no {missing[0]} on this machine: apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("a SLURM of one's own needs root")
    if PLACE.exists():
        pytest.skip(f"there is a {PLACE}: this machine has a SLURM already")
    PLACE.unlink(missing_ok=True)  # of a test that was killed
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
