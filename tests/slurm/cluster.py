"""A real Slurm on this machine, for as long as it is wanted: munged, slurmctld, one slurmd, faked GPUs.

All of it lives in one folder: configuration, key, socket, state, logs. Nothing outside is touched, so it runs beside a
Slurm that is there already. It needs root (slurmd starts jobs as other users) and the binaries of Debian's slurm-wlm
and munge.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
STARTS_WITHIN_S = 60.0
NVIDIA_MAJOR = 195

NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=2000 Gres=gpu:{gpus}"

# Cgroups are left alone, and accounting is off: it has to do without either.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={spool}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
KillWait=5
SlurmdTimeout=10
MinJobAge=10
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
SlurmctldParameters=preempt_send_user_signal
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Return why no cluster can be started here; empty if one can."""
    absent = [name for name in BINARIES if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no Slurm here: {', '.join(absent)} not found (on Debian: apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "a Slurm of its own is started by root only"


@dataclass(slots=True)
class Cluster:
    """A running Slurm; `environment` is what its commands need to find it. Its daemons of nodes are named as these."""

    folder: Path
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one of the daemons, and wait until the cluster answers."""
        configuration = self.folder / "slurm.conf"
        commands: dict[str, Sequence[str]] = {
            "munged": (
                *("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket"),
                *(f"--key-file={self.folder}/munge.key", f"--pid-file={self.folder}/munged.pid"),
                *(f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munged.seed"),
            ),
            "slurmctld": ("slurmctld", "-D", "-f", str(configuration)),
        }
        command = commands.get(name) or ("slurmd", "-D", "-N", name, "-f", str(configuration))
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment
            )

    def kill(self, name: str) -> None:
        """SIGKILL a daemon."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def ask(self, *command: str) -> str:
        """Run a command of Slurm, and return what it prints."""
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if run.returncode:
            raise RuntimeError(f"{' '.join(command)}: {run.stderr.strip()}")
        return run.stdout

    def jobs(self) -> dict[str, str]:
        """Return the states of the jobs that have not ended, by name."""
        lines = self.ask("squeue", "--noheader", "--format=%j %T").splitlines()
        return dict(line.split() for line in lines)

    def idle(self) -> bool:
        """Return whether all nodes accept jobs and have none."""
        try:
            states = self.ask("sinfo", "--noheader", "--partition=main", "--format=%T")
        except RuntimeError:
            return False
        return states.split() == ["idle"]  # a line for all nodes of a state

    def wait_until_idle(self) -> None:
        """Until all nodes take jobs and have none.

        Raises:
            RuntimeError: it does not come to that; with the ends of the logs.
        """
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self.idle():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in self.folder.glob("*.log"))
                raise RuntimeError(f"Slurm did not become idle:\n{logs}")
            time.sleep(0.05)

    def clear(self) -> None:
        """Cancel all jobs, and wait until none runs."""
        if self.jobs():
            self.ask("scancel", "--signal=KILL", "--full", "--user=root", "--state=RUNNING")
            self.ask("scancel", "--user=root")
        self.wait_until_idle()

    def end(self) -> None:
        """Cancel all jobs, and end the daemons."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            if self.idle() or self.jobs():
                self.clear()
        for name in reversed(list(self.processes)):
            process = self.processes.pop(name)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def cluster(folder: Path, *, gpus: int = 2, cpus: int = 4, nodes: Sequence[str] = ("node0",)) -> Iterator[Cluster]:
    """Start a Slurm in a folder of its own, with this number of faked GPUs and cores on each node."""
    folder.mkdir(parents=True)
    (folder / "state").mkdir()
    with tempfile.TemporaryDirectory(prefix="slurmd-") as spool:  # for sockets, which need short names
        for node in nodes:
            (Path(spool) / node).mkdir()
        with _cluster(folder, spool, gpus, cpus, nodes) as running:
            yield running


@contextlib.contextmanager
def _cluster(folder: Path, spool: str, gpus: int, cpus: int, nodes: Sequence[str]) -> Iterator[Cluster]:
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    controller_port, *ports = _free_ports(1 + len(nodes))
    here = socket.gethostname()
    lines = [
        NODE.format(name=node, host=here, port=port, cpus=cpus, gpus=gpus)
        for node, port in zip(nodes, ports, strict=True)
    ]
    text = CONFIGURATION.format(
        host=here,
        folder=folder,
        spool=spool,
        controller_port=controller_port,
        nodes="\n".join(lines),
    )
    (folder / "slurm.conf").write_text(text)
    for number in range(gpus):
        os.mknod(folder / f"nv{number}", stat.S_IFCHR | 0o666, os.makedev(NVIDIA_MAJOR, number))
    gres = [f"NodeName={node} Name=gpu File={folder}/nv[0-{gpus - 1}]" for node in nodes]
    (folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *gres, ""]))
    # The daemons get the environment of a login only: jobs inherit the environment of the user that submits them.
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    slurm = Cluster(folder, environment)
    try:
        slurm.start("munged")
        _wait_for(folder / "munge.socket")
        slurm.start("slurmctld")
        for node in nodes:
            slurm.start(node)
        slurm.wait_until_idle()
        yield slurm
    finally:
        slurm.end()


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not appear")
        time.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    """Return ports that are not in use now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":  # to look around by hand: python tests/slurm/cluster.py FOLDER
    import sys

    with cluster(Path(sys.argv[1])) as slurm:
        print(f"export SLURM_CONF={slurm.folder / 'slurm.conf'}", flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
