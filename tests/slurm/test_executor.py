"""The Slurm executor on a real Slurm: one node, two faked GPUs, no accounting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeper.config import Resources, Slurm
from sweeper.errors import UsageError
from sweeper.executors.executor import Slot
from sweeper.executors.slurm.executor import SlurmExecutor, job_name, options_of, slurm_executor
from sweeper.executors.slurm.queue import Job, JobQueue, jobs_of
from sweeper.record.reader import read_exit
from sweeper.record.storage.claim import make_claim
from sweeper.record.storage.layout import AttemptDir, TrialDir, write_json
from tests.slurm.cluster import Cluster

SLOT = Slot(name="job 0", environment={"OMP_NUM_THREADS": "1"})
WAITS = "import time; print('ready', flush=True); time.sleep(120)"
PATIENCE_S = 90.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def trial(tmp_path: Path) -> TrialDir:
    directory = TrialDir(tmp_path / "a [run] with ünïcode, 100%" / "trials" / "0000")
    directory.path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": [], "metric": "m"}
    write_json(directory.facts, {**facts, "maximize": True})
    return directory


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After a test no process waits for squeue."""
    queues: list[JobQueue] = []
    begin = JobQueue.__init__

    def remembered(queue: JobQueue) -> None:
        begin(queue)
        queues.append(queue)

    monkeypatch.setattr(JobQueue, "__init__", remembered)
    yield
    for queue in queues:
        queue.close()


@pytest.fixture
def executor(slurm: Cluster) -> SlurmExecutor:
    return SlurmExecutor([SLOT], [])


def launch(executor: SlurmExecutor, trial: TrialDir, code: str = WAITS, attempt: int = 1) -> AttemptDir:
    executor.launch(trial, attempt, [sys.executable, "-c", code], SLOT)
    return trial.attempt(attempt)


def running(attempt: AttemptDir, word: bytes = b"ready") -> None:
    until(lambda: attempt.output.exists() and word in attempt.output.read_bytes())


def over(executor: SlurmExecutor, attempt: AttemptDir) -> None:
    until(lambda: not executor.is_alive(attempt))


def test_a_job_gets_the_devices_that_it_asks_for_and_keeps_within_its_threads(
    slurm: Cluster, trial: TrialDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "77")  # as in a job that sweeper itself may run in
    executor = slurm_executor(Slurm(partition="main", time="5"), Resources(gpus=2, cpus=2), 1)
    code = "import os; print(*[os.environ.get(n) for n in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'SLURM_NTASKS')])"
    executor.launch(trial, 1, [sys.executable, "-c", code], executor.slots()[0])
    over(executor, trial.attempt(1))
    assert trial.attempt(1).output.read_text() == "0,1 2 None\n"


def test_a_stop_before_the_job_starts_cancels_it(slurm: Cluster, trial: TrialDir) -> None:
    executor = SlurmExecutor([SLOT], ["--begin=now+1hour"])
    attempt = launch(executor, trial)
    assert executor.is_alive(attempt)
    executor.stop(attempt)
    assert not executor.is_alive(attempt)
    until(lambda: job_name(attempt) not in slurm.jobs())
    assert read_exit(attempt) is None


def test_scancel_by_a_user_is_an_ordinary_end(slurm: Cluster, executor: SlurmExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial)
    running(attempt)
    slurm.ask("scancel", f"--name={job_name(attempt)}")
    over(executor, attempt)
    exit_ = read_exit(attempt)
    assert exit_ is not None
    assert exit_.signal == signal.SIGTERM


def test_a_job_that_slurm_kills_leaves_no_process_and_no_exit(
    slurm: Cluster, executor: SlurmExecutor, trial: TrialDir
) -> None:
    deaf = "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{deaf}; print(subprocess.Popen(['sleep', '120'], start_new_session=True).pid); {WAITS}"
    attempt = launch(executor, trial, code)
    running(attempt)
    child = Path(f"/proc/{attempt.output.read_text().split()[0]}")
    slurm.ask("scancel", f"--name={job_name(attempt)}")
    over(executor, attempt)
    assert read_exit(attempt) is None
    until(lambda: not child.exists())


def test_a_requeued_job_does_not_run_a_second_time(slurm: Cluster, executor: SlurmExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial)
    running(attempt)
    job = slurm.ask("squeue", "--noheader", "--format=%i", f"--name={job_name(attempt)}").strip()
    slurm.ask(
        "scontrol", "update", f"JobId={job}", "Requeue=1"
    )  # only an operator does this, since sweeper submits with --no-requeue
    slurm.ask("scontrol", "requeue", job)
    over(executor, attempt)

    def in_the_queue() -> str:
        return slurm.ask("squeue", "--noheader", "--format=%r", f"--name={job_name(attempt)}").strip()

    # It waits for two minutes, which stands once the first run is cleared away; or was taken from the queue already.
    until(lambda: in_the_queue() in ("BeginTime", ""))
    if in_the_queue():
        later = "StartTime=now+3"  # a node starts no job in the second in which it ended it
        slurm.ask("scontrol", "update", f"JobId={job}", later)
        running(attempt, b"an attempt runs once")
    assert attempt.output.read_bytes().count(b"ready") == 1


def test_a_requeued_job_without_an_exit_is_lost(slurm: Cluster, trial: TrialDir) -> None:
    executor = SlurmExecutor([SLOT], ["--begin=now+1hour"])  # waits, as a requeued job does
    attempt = launch(executor, trial)
    make_claim(attempt, {"pid": 1})
    over(executor, attempt)
    until(lambda: job_name(attempt) not in slurm.jobs())


def test_a_job_that_is_submitted_twice_runs_once(slurm: Cluster, executor: SlurmExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial)
    running(attempt)
    launch(SlurmExecutor([SLOT], []), trial)
    running(attempt, b"this start of it ends here")
    assert executor.is_alive(attempt)
    executor.kill(attempt)
    over(executor, attempt)
    assert attempt.output.read_bytes().count(b"ready") == 1


def test_jobs_survive_a_killed_controller(slurm: Cluster, executor: SlurmExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial)
    running(attempt)
    # A job that the controller did not write down yet when it is killed is one that it kills when it comes back.
    job, began = slurm.ask("squeue", "--noheader", "--format=%i").strip(), time.time()
    slurm.ask("scontrol", "update", f"JobId={job}", "Comment=written")
    until(lambda: (slurm.folder / "state" / "job_state").stat().st_mtime > began)
    slurm.kill("slurmctld")
    until(lambda: any("squeue failed" in trouble for trouble in executor.troubles()))
    assert executor.is_alive(attempt)
    executor.stop(attempt)  # cannot be sent now, and is sent later
    waiting = launch(executor, trial, "print('late')", attempt=2)
    assert any("Slurm rejected a job" in trouble for trouble in executor.troubles())
    assert executor.is_alive(waiting)
    slurm.start("slurmctld")
    over(executor, attempt)
    exit_ = read_exit(attempt)
    assert exit_ is not None
    assert exit_.signal == signal.SIGTERM
    over(executor, waiting)
    assert waiting.output.read_text() == "late\n"
    assert not executor.troubles()


def test_a_time_limit_arrives_as_a_stop(slurm: Cluster, trial: TrialDir) -> None:
    executor = SlurmExecutor([SLOT], ["--time=1"])  # less than the grace, so that Slurm asks at once
    code = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); {WAITS}"
    attempt = launch(executor, trial, code)
    over(executor, attempt)
    exit_ = read_exit(attempt)
    assert exit_ is not None
    assert exit_.code == 5 or exit_.signal == signal.SIGTERM  # the signal may come before the handler


def test_a_preemption_arrives_as_a_stop(slurm: Cluster, trial: TrialDir) -> None:
    executor = SlurmExecutor([SLOT], ["--gres=gpu:2", "--time=60"])
    code = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); {WAITS}"
    attempt = launch(executor, trial, code)
    running(attempt)
    slurm.ask("sbatch", "--partition=urgent", "--gres=gpu:2", "--output=/dev/null", "--wrap=true")
    over(executor, attempt)
    exit_ = read_exit(attempt)
    assert exit_ is not None
    assert exit_.code == 5


def test_settings_that_slurm_rejects_are_reported_before_anything_runs(slurm: Cluster) -> None:
    with pytest.raises(UsageError, match=r"executor: slurm: .* invalid partition specified: nowhere"):
        slurm_executor(Slurm(partition="nowhere"), Resources(), None)


def test_squeue_is_called_once_for_all_jobs_and_not_at_every_poll(
    slurm: Cluster, tmp_path: Path, trial: TrialDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, wrapper = tmp_path / "calls", tmp_path / "bin" / "squeue"
    wrapper.parent.mkdir()
    real = subprocess.run(["which", "squeue"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper.write_text(f'#!/bin/sh\necho call >> {log}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    executor = SlurmExecutor([SLOT], [])
    attempts = [launch(executor, trial, attempt=number) for number in (1, 2)]
    until(lambda: all(executor.is_alive(attempt) for attempt in attempts) and executor._queue.jobs)
    for _ in range(200):
        assert all(executor.is_alive(attempt) for attempt in attempts)
    assert len(log.read_text().splitlines()) <= 3


def test_a_squeue_that_does_not_respond_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm: Cluster
) -> None:
    stuck = tmp_path / "squeue"
    stuck.write_text("#!/bin/sh\nexec sleep 120\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    queue = JobQueue()
    assert [queue.poll() for _ in range(100)] == [False] * 100
    assert queue._squeue is not None
    queue._squeue.kill()
    until(lambda: queue.poll() or queue.trouble)
    assert "squeue failed" in queue.trouble


def test_among_jobs_of_the_same_name_the_started_one_counts() -> None:
    text = "7|PENDING|a\n8|RUNNING|a\n9|PENDING|a\n10|COMPLETED|b\n11|COMPLETING|c|d\nslurm: a message\n"
    assert jobs_of(text) == {"a": Job("8", "RUNNING"), "c|d": Job("11", "COMPLETING")}


def test_the_name_of_a_job_is_readable_and_unique(tmp_path: Path) -> None:
    attempt = TrialDir(tmp_path / "warmup" / "trials" / "0007").attempt(2)
    other = TrialDir(tmp_path / "elsewhere" / "warmup" / "trials" / "0007").attempt(2)
    assert job_name(attempt).startswith("sweeper-warmup-0007.2-")
    assert job_name(attempt) != job_name(other)


def test_options_of_sbatch_follow_from_the_sweep() -> None:
    settings = Slurm(partition="p", account="a", qos="q", time="1:00:00")
    assert options_of(settings, Resources(gpus=2, cpus=4)) == [
        "--nodes=1",
        *("--partition=p", "--account=a", "--qos=q", "--gres=gpu:2", "--time=1:00:00", "--cpus-per-task=4"),
    ]
    assert options_of(Slurm(), Resources(gpus=0.5)) == ["--nodes=1", "--gres=gpu:1"]  # Slurm has no fractions of a GPU
    assert options_of(Slurm(gres="gpu:a100:1"), Resources()) == ["--nodes=1", "--gres=gpu:a100:1"]
