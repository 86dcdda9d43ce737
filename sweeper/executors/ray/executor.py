"""The Ray executor: one host (an actor) for each slot, on a node that Ray chooses.

1. A host is a detached actor, named for its slot, in the namespace of the sweep, so it outlives this process. The next
   driver asks all hosts which attempts they have before it reports any attempt as dead.
2. From then on hosts accept launch requests of that driver only. So an attempt that no host has cannot start later.
3. Ray restarts and retries nothing. If a host is gone, its attempt is too, and the trial needs another attempt.

Ray reports liveness; how an attempt ended comes from its record.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import RecordError, UsageError
from sweeper.executors.executor import Blocker, HasFileno, Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.ray.cluster import Foreign, capacity, join, needs_of, options_of
from sweeper.executors.ray.courier import Courier, RemoteAttempt
from sweeper.executors.ray.host import AttemptKey, HostSettings, LaunchRequest, RayHost
from sweeper.executors.ray.mirror import Replica, pack
from sweeper.executors.slots.division import threads_of
from sweeper.record.events import FORMAT
from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir, read_json, write_json

if TYPE_CHECKING:
    from sweeper.config import Ray, SweepSpec
    from sweeper.executors.machine import Machine

COUNT_EVERY_S = 5.0
IDLE_S = 10.0
"""A host that has been idle for this long is released."""
REPORT_AFTER_S = 15.0
"""A slot that has waited for a node for this long is reported to the user."""


class RayExecutor:
    """Runs attempts on a Ray cluster."""

    def __init__(self, spec: SweepSpec, settings: Ray, run: SweepDir, machine: Machine, *, preload: bool) -> None:
        """Connect to the cluster, and take over the hosts of an earlier driver of the run.

        Args:
            spec: The sweep.
            settings: The settings of the executor.
            run: The directory of the run.
            machine: What this process may use of this machine, for a cluster that is started here.
            preload: Fork attempts from a process that has already imported what they import.

        Raises:
            UsageError: The cluster cannot be reached, or no node of it has enough resources for a trial.
        """
        self._namespace = _namespace(run)
        self._has_joined = join(settings, machine)
        import ray

        self._run, self._workers = run, machine.workers
        self._needs = needs_of(settings, spec.resources, has_gpus="GPU" in ray.cluster_resources())
        self._driver = uuid.uuid4().hex
        self._here = LocalExecutor([])
        self._courier = Courier(self)
        self._hosts: dict[str, Foreign] = {}
        self._unanswered: list[Foreign] = []
        self._ready: set[Foreign] = set()
        self._idle_since: dict[str, float] = {}
        self._wanted_since: dict[str, float] = {}
        self._slots: list[Slot] = []
        self._counted_at = -COUNT_EVERY_S
        self._settings = self._host_settings(settings, preload=preload)
        self._options = {**options_of(self._needs), "namespace": self._namespace}
        if settings.runtime_env:
            self._options["runtime_env"] = dict(settings.runtime_env)
        self._take_over()
        if not self.slots():
            raise UsageError(
                f"executor: ray: expected a node with {self._wanted()}, got none in the cluster; see resources, "
                "or say --workers N to wait for nodes that the cluster may add"
            )

    # ---- the interface of an executor -------------------------------------------------------------------------------

    def slots(self) -> Sequence[Slot]:
        """Return as many slots as fit on the nodes now, or as many as the user asked for.

        In the latter case Ray may have to add nodes.
        """
        import ray

        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = time.monotonic()
            room = capacity(ray.nodes(), self._needs)
            # After the loss of all nodes one slot remains, so that the sweep waits for other nodes.
            count = self._workers or max(room, min(1, len(self._slots)))
            self._slots = [Slot(name=f"ray {number}") for number in range(count)]
            self._release_idle()
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:  # noqa: ARG002 - a host runs any trial
        """Return whether Ray has started the host of the slot. Until then the trial waits, and others may start."""
        host, now = self.host(slot.name), time.monotonic()
        self._idle_since[slot.name] = now
        self._wanted_since.setdefault(slot.name, now)
        if host not in self._ready:
            return False
        self._wanted_since.pop(slot.name)
        return True

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Ask the host of the slot to start an attempt, which it does once Ray has started the host."""
        directory, key = trial.attempt(attempt), (trial.number, attempt)
        confined.make_folder(directory.path)
        if key in self._courier.remotes or directory.claim.exists():
            return  # an attempt runs once
        request = LaunchRequest(
            driver=self._driver,
            trial=trial.path.name,
            attempt=attempt,
            command=tuple(command),
            files=pack(trial),
        )
        remote = RemoteAttempt(key=key, slot=slot.name, host=self.host(slot.name), replica=Replica(trial, attempt))
        self._courier.start(remote, request)

    def stop(self, attempt: AttemptDir) -> None:
        """Have the host send SIGTERM to the shim."""
        self._call_host("stop", attempt)

    def kill(self, attempt: AttemptDir) -> None:
        """Have the host send SIGQUIT to the shim. Attempts do not outlive their host, so a lost host needs nothing."""
        self._call_host("kill", attempt)

    def dump(self, attempt: AttemptDir) -> None:
        """Have the host send SIGUSR1 to the shim."""
        self._call_host("dump", attempt)

    def faults(self) -> Mapping[str, str]:
        """Return nothing: a lost node loses its hosts, but a slot is not bound to a node."""
        return {}

    def avoid(self, node: str) -> bool:  # noqa: ARG002 - Ray chooses the nodes
        """Return False: Ray chooses the nodes."""
        return False

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Return whether a host runs the attempt or may start it, or it still runs here from before the sweep used Ray.

        Raises:
            Exception: The courier's thread failed, for example because the disk is full.
        """
        if self._courier.failure is not None:
            raise self._courier.failure
        if _key(attempt) in self._courier.remotes or self._unanswered:  # a host that has not answered may run it
            return True
        return self._here.is_alive(attempt)

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:  # noqa: ARG002 - the same for all
        """Return None: device memory is not measured on Ray nodes."""
        return None

    def ends(self) -> Sequence[HasFileno]:
        """Return the courier, which is readable once an attempt has ended and all of its record has arrived."""
        return [self._courier.acknowledge()]

    def troubles(self) -> Sequence[str]:
        """Return the messages of hosts, and which slots wait for a node."""
        return [*self._courier.troubles, *(blocker.text for blocker in self.waits_for())]

    def waits_for(self) -> Sequence[Blocker]:
        """Return which slots have waited for a node for a while."""
        late = time.monotonic() - REPORT_AFTER_S
        waiting = [slot for slot, since in self._wanted_since.items() if since < late and slot in self._hosts]
        text = f"waits for a Ray node with {self._wanted()} free"
        return [Blocker(text=f"the slot {slot} {text}") for slot in waiting]

    def close(self) -> None:
        """Release idle hosts. Running attempts continue, unless the cluster was started here: then it ends now."""
        import ray

        self._courier.close()
        for slot in self._idle():
            self._release(slot)
        if self._has_joined:
            ray.shutdown()

    # ---- hosts ------------------------------------------------------------------------------------------------------

    def _host_settings(self, settings: Ray, *, preload: bool) -> HostSettings:
        threads = threads_of(max(1, int(self._needs["CPU"])))
        hidden = {} if self._needs["GPU"] else {"CUDA_VISIBLE_DEVICES": ""}
        return HostSettings(
            driver=self._driver,
            folder=str(Path(settings.work_dir or _work_dir()) / self._namespace),
            private="" if settings.work_dir else str(_work_dir()),
            python=sys.executable,
            cwd="" if "working_dir" in settings.runtime_env else str(Path.cwd()),
            environment={**threads, "TOKENIZERS_PARALLELISM": "false", **hidden},
            preload=preload,
        )

    def _take_over(self) -> None:
        """Ask the hosts that an earlier driver left which attempts they have."""
        import ray

        for actor in ray.util.list_named_actors(all_namespaces=True):
            if actor["namespace"] == self._namespace:
                with contextlib.suppress(ValueError):  # it has ended in the meantime
                    host, slot = ray.get_actor(actor["name"], self._namespace), actor["name"].partition("/")[0]
                    self._unanswered.append(host)
                    self._hosts[slot] = host
                    self._courier.expect(host.serve.remote(self._driver), functools.partial(self._adopt, host, slot))

    def _adopt(self, host: Foreign, slot: str, ref: Foreign) -> None:
        """Follow the attempts that a host has; runs in the courier's thread."""
        import ray

        try:
            for number, attempt in ray.get(ref):
                replica = Replica(self._run.trial(number), attempt)
                remote = RemoteAttempt(key=(number, attempt), slot=slot, host=host, replica=replica, started=True)
                self._courier.follow(remote)
            self._ready.add(host)
        except ray.exceptions.RayActorError:
            self.remove(host)
        self._unanswered.remove(host)

    def host(self, slot: str) -> Foreign:
        """Return the host of a slot; create one if there is none."""
        import ray

        if slot not in self._hosts:
            name = f"{slot}/{uuid.uuid4().hex[:8]}"
            host: Foreign = ray.remote(RayHost).options(name=name, **self._options).remote(self._settings)
            self._hosts[slot] = host
            self._courier.expect(host.serve.remote(self._driver), functools.partial(self._on_ready, host))
        return self._hosts[slot]

    def _on_ready(self, host: Foreign, ref: Foreign) -> None:
        """Count a host as ready, or remove it if it failed to start; runs in the courier's thread."""
        import ray

        try:
            ray.get(ref)
            self._ready.add(host)
        except ray.exceptions.RayActorError:
            self.remove(host)

    def remove(self, host: Foreign) -> None:
        """Remove a host that is gone."""
        self._ready.discard(host)
        for slot, known in list(self._hosts.items()):
            if known is host:
                self._hosts.pop(slot, None)

    def _release_idle(self) -> None:
        """End hosts that have been idle for `IDLE_S`."""
        now = time.monotonic()
        idle = self._idle()
        self._idle_since = {slot: self._idle_since.get(slot, now) for slot in idle}
        for slot in idle:
            if now - self._idle_since[slot] > IDLE_S:
                self._release(slot)

    def _idle(self) -> list[str]:
        """Return the slots with a host that has no attempt."""
        busy = [*(remote.host for remote in list(self._courier.remotes.values())), *self._unanswered]
        return [slot for slot, host in list(self._hosts.items()) if not any(host is other for other in busy)]

    def _release(self, slot: str) -> None:
        import ray

        host = self._hosts.pop(slot, None)
        if host is not None:
            ray.kill(host)

    def _call_host(self, method: str, attempt: AttemptDir) -> None:
        """Call a method of the host that runs an attempt; an attempt that has not started never will."""
        import ray

        remote = self._courier.remotes.get(_key(attempt))
        if remote is None:
            getattr(self._here, method)(attempt)
        elif remote.started:
            getattr(remote.host, method).remote(remote.key)
        elif method != "dump":
            remote.cancelled = True
            ray.kill(remote.host)

    def _wanted(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._needs.items() if amount)


def _key(attempt: AttemptDir) -> AttemptKey:
    return int(attempt.path.parent.parent.name), attempt.number


def _namespace(run: SweepDir) -> str:
    """Return the namespace of the sweep in a cluster, which is created once and kept in the run's directory.

    Raises:
        RecordError: The file that keeps it is damaged.
    """
    if not os.path.lexists(run.ray):
        name = f"sweeper-{run.path.absolute().name}-{uuid.uuid4().hex[:12]}"
        write_json(run.ray, {"format": FORMAT, "namespace": name})
    namespace = read_json(run.ray).get("namespace")
    if not isinstance(namespace, str):
        raise RecordError(f"{run.ray}: expected a namespace, got {namespace!r}")
    return namespace


def _work_dir() -> Path:
    return Path(tempfile.gettempdir()) / f"sweeper-{os.geteuid()}-ray"
