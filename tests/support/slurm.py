"""A real SLURM on this machine, in a folder of its own, for as long as a test takes: of one node, or of several.

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
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

PLACE = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
CONFIG = """
ClusterName=negmark
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
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
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = """
NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} RealMemory={memory} State=UNKNOWN
"""


class Cluster:
    """A SLURM whose nodes are daemons of this machine; commands find it by `environment`."""

    def __init__(self, folder: Path, nodes: int = 1, cores: int = 2) -> None:
        self.folder, self.cores = folder, cores
        self.nodes = [f"node{number}" for number in range(nodes)]
        memory, host = psutil.virtual_memory().total // 2**20 - 1000, socket.gethostname()
        control, *ports = free_ports(1 + nodes)
        folder.mkdir(mode=0o755)
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (folder / name).mkdir()
        text = CONFIG.format(host=host, control=control, folder=folder)
        for name, port in zip(self.nodes, ports, strict=True):
            text += NODE.format(name=name, host=host, port=port, cores=cores, memory=memory // nodes)
        (folder / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        PLACE.parent.mkdir(exist_ok=True)
        PLACE.symlink_to(self.folder / "slurm.conf")
        self._start_munge()
        self._run("slurmctld", "-D", "-i")
        for node in self.nodes:
            self.start_node(node)

    def start_node(self, node: str = "node0") -> None:
        """Start a node's daemon, and wait until the node takes jobs."""
        self._run("slurmd", "-D", "-N", node, name=node)
        ready = {"idle", "mixed", "allocated"}
        self._wait(lambda: self.call("sinfo", "-h", "-N", "-n", node, "-o", "%T").strip() in ready)

    def stop_node(self) -> None:
        """Stop the first node's daemon; its jobs go on."""
        self._end("node0")

    def kill_node(self, node: str) -> None:
        """Kill a node with all its jobs, as a power cut does."""
        steps = [
            process for process in psutil.process_iter(["cmdline", "environ"])
            if any("slurmstepd" in word for word in process.info["cmdline"] or [])
        ]  # fmt: skip
        self._running.pop(node).kill()
        for job in self.call("squeue", "-h", "-w", node, "-o", "%i").split():
            for step in steps:
                if f"[{job}." in " ".join(step.info["cmdline"]):
                    for process in (*step.children(recursive=True), step):
                        with suppress(psutil.NoSuchProcess):
                            process.kill()

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons."""
        subprocess.run(["scancel", "--user", "root"], env=self.environment, capture_output=True, timeout=60)
        for name in (*self.nodes, "slurmctld", "munged"):
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

    def _run(self, program: str, *options: str, user: str = "", name: str = "") -> None:
        before = ["runuser", "-u", user, "--"] if user else []
        with (self.folder / f"{program}.out").open("ab") as out:
            self._running[name or program] = subprocess.Popen(
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
def cluster(folder: Path, nodes: int = 1) -> Iterator[Cluster]:
    """Run a cluster, or skip the test and say what to install."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        pytest.skip(f"no {missing[0]} on this machine: apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("a SLURM of one's own needs root")
    if PLACE.exists():
        pytest.skip(f"there is a {PLACE}: this machine has a SLURM already")
    PLACE.unlink(missing_ok=True)  # of a test that was killed
    made = Cluster(folder, nodes)
    try:
        made.start()
        yield made
    finally:
        made.stop()
