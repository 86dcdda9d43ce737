"""The Ray executor: a host a slot, on the node that Ray chooses; liveness is Ray's word, outcomes are the record's.

1. A host is a detached actor, named for its slot, in the namespace of the sweep: it outlives this process. Whoever
   comes next asks all of them what they hold before anything is said of an attempt.
2. From then on hosts take its orders only. An attempt that no host holds is held by nobody, and never will be.
3. Ray restarts and retries nothing: a host that is gone is gone with its attempt, whose next one is another attempt.
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
from sweeper.executors.executor import HasFileno, Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.ray.cluster import Foreign, capacity, join, needs_of, options_of
from sweeper.executors.ray.courier import Courier, Remote
from sweeper.executors.ray.host import Host, Key, Order, Place
from sweeper.executors.ray.mirror import Replica, packed
from sweeper.executors.slots.division import threads_of
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir, read_json, write_json

if TYPE_CHECKING:
    from sweeper.config import Ray, SweepSpec
    from sweeper.executors.machine import Machine

COUNT_EVERY_S = 5.0
IDLE_S = 10.0
"""A host that had nothing to do for so long is given back."""
PLACED_WITHIN_S = 15.0


class RayExecutor:
    """Runs attempts on a Ray cluster."""

    def __init__(self, spec: SweepSpec, settings: Ray, run: SweepDir, machine: Machine, *, preload: bool) -> None:
        """Join the cluster, and take over what an earlier executor of the run left there.

        Raises:
            UsageError: the cluster cannot be reached, or no node of it could ever run a trial.
        """
        self._namespace = _namespace(run)
        self._joined = join(settings, machine)
        import ray

        self._run, self._workers = run, machine.workers
        self._needs = needs_of(settings, spec.resources, has_gpus="GPU" in ray.cluster_resources())
        self._driver = uuid.uuid4().hex
        self._here = LocalExecutor([])
        self._courier = Courier(self)
        self._hosts: dict[str, Foreign] = {}
        self._asked: list[Foreign] = []
        self._placed: set[Foreign] = set()
        self._idle_since: dict[str, float] = {}
        self._wanted_since: dict[str, float] = {}
        self._slots: list[Slot] = []
        self._counted = -COUNT_EVERY_S
        threads = threads_of(max(1, int(self._needs["CPU"])))
        hidden = {} if self._needs["GPU"] else {"CUDA_VISIBLE_DEVICES": ""}
        self._place = Place(
            driver=self._driver,
            folder=str(Path(settings.work_dir or _work_dir()) / self._namespace),
            python=sys.executable,
            cwd="" if "working_dir" in settings.runtime_env else str(Path.cwd()),
            environment={**threads, "TOKENIZERS_PARALLELISM": "false", **hidden},
            preload=preload,
        )
        self._options = {**options_of(self._needs), "namespace": self._namespace}
        if settings.runtime_env:
            self._options["runtime_env"] = dict(settings.runtime_env)
        self._take_over()
        if not self.slots():
            raise UsageError(
                f"executor: ray: expected a node with {self._wanted()}, got none in the cluster; see resources, "
                "or say --workers N to wait for nodes that the cluster may add"
            )

    # ---- the protocol -----------------------------------------------------------------------------------------------

    def slots(self) -> Sequence[Slot]:
        """As many as the nodes have room for now; or as many as were asked for: Ray may have to find nodes for them."""
        import ray

        if time.monotonic() - self._counted >= COUNT_EVERY_S:
            self._counted = time.monotonic()
            room = capacity(ray.nodes(), self._needs)
            # Where there was room once, there will be again: whoever has lost all nodes waits for others.
            count = self._workers or max(room, min(1, len(self._slots)))
            self._slots = [Slot(name=f"ray {number}") for number in range(count)]
            self._give_back_idle()
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:  # noqa: ARG002 - any trial's will do
        """Whether Ray has found a place for the host of the slot; until then the trial waits, and others may start."""
        host, now = self.host(slot.name), time.monotonic()
        self._idle_since[slot.name] = now
        self._wanted_since.setdefault(slot.name, now)
        if host not in self._placed:
            return False
        self._wanted_since.pop(slot.name)
        return True

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Order an attempt from the host of the slot; it starts once Ray has found a place for that."""
        directory, key = trial.attempt(attempt), (trial.number, attempt)
        directory.path.mkdir(parents=True, exist_ok=True)
        if key in self._courier.remotes or directory.claim.exists():
            return  # an attempt runs once
        order = Order(
            driver=self._driver,
            trial=trial.path.name,
            attempt=attempt,
            command=tuple(command),
            luggage=packed(trial),
        )
        remote = Remote(key=key, slot=slot.name, host=self.host(slot.name), replica=Replica(trial, attempt))
        self._courier.start(remote, order)

    def stop(self, attempt: AttemptDir) -> None:
        """SIGTERM to the shim, by its host."""
        self._tell("stop", attempt)

    def kill(self, attempt: AttemptDir) -> None:
        """SIGQUIT to the shim, by its host; nothing to do where the host is gone, whom its attempts do not outlive."""
        self._tell("kill", attempt)

    def dump(self, attempt: AttemptDir) -> None:
        """SIGUSR1 to the shim, by its host."""
        self._tell("dump", attempt)

    def faults(self) -> Mapping[str, str]:
        """Nothing: a node that is lost loses its hosts, and a slot is no node."""
        return {}

    def avoid(self, node: str) -> bool:  # noqa: ARG002 - as below
        """Nothing: Ray places the hosts, and a host that is gone gets another place."""
        return False

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Whether a host holds the attempt, or may yet start it; or it runs here, launched before the sweep moved."""
        if self._courier.failure is not None:
            raise self._courier.failure
        if _key(attempt) in self._courier.remotes or self._asked:  # who has not answered yet may hold it
            return True
        return self._here.is_alive(attempt)

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:  # noqa: ARG002 - it is of none
        """Not measured."""
        return None

    def ends(self) -> Sequence[HasFileno]:
        """Readable once an attempt has ended, and is here as a whole."""
        return [self._courier.show()]

    def troubles(self) -> Sequence[str]:
        """What hosts have to say, and which slots wait for Ray to find them a place."""
        late = time.monotonic() - PLACED_WITHIN_S
        waiting = [slot for slot, since in self._wanted_since.items() if since < late and slot in self._hosts]
        of = f"waits for a node of the Ray cluster that has {self._wanted()} free"
        return [*self._courier.troubles, *(f"the slot {slot} {of}" for slot in waiting)]

    def close(self) -> None:
        """Give back the hosts that have nothing to do. What runs goes on, unless the cluster is ours and ends now."""
        import ray

        self._courier.close()
        for slot in self._idle():
            self._give_back(slot)
        if self._joined:
            ray.shutdown()

    # ---- hosts ------------------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        import ray

        for actor in ray.util.list_named_actors(all_namespaces=True):
            if actor["namespace"] == self._namespace:
                with contextlib.suppress(ValueError):  # it is gone meanwhile
                    host, slot = ray.get_actor(actor["name"], self._namespace), actor["name"].partition("/")[0]
                    self._asked.append(host)
                    self._hosts[slot] = host
                    self._courier.expect(host.serve.remote(self._driver), functools.partial(self._adopt, host, slot))

    def _adopt(self, host: Foreign, slot: str, ref: Foreign) -> None:
        """Take in what a host holds; in the courier's thread."""
        import ray

        try:
            for number, attempt in ray.get(ref):
                replica = Replica(self._run.trial(number), attempt)
                remote = Remote(key=(number, attempt), slot=slot, host=host, replica=replica, placed=True)
                self._courier.follow(remote)
            self._placed.add(host)
        except ray.exceptions.RayActorError:
            self.without(host)
        self._asked.remove(host)

    def host(self, slot: str) -> Foreign:
        """The host of a slot, another one where it is gone."""
        import ray

        if slot not in self._hosts:
            name = f"{slot}/{uuid.uuid4().hex[:8]}"
            host: Foreign = ray.remote(Host).options(name=name, **self._options).remote(self._place)
            self._hosts[slot] = host
            self._courier.expect(host.serve.remote(self._driver), functools.partial(self._take_in, host))
        return self._hosts[slot]

    def _take_in(self, host: Foreign, ref: Foreign) -> None:
        """Know that a host has its place, or will have none; in the courier's thread."""
        import ray

        try:
            ray.get(ref)
            self._placed.add(host)
        except ray.exceptions.RayActorError:
            self.without(host)

    def without(self, host: Foreign) -> None:
        """Know that a host is gone."""
        self._placed.discard(host)
        for slot, known in list(self._hosts.items()):
            if known is host:
                self._hosts.pop(slot, None)

    def _give_back_idle(self) -> None:
        """End hosts that had nothing to do for a while."""
        now = time.monotonic()
        idle = self._idle()
        self._idle_since = {slot: self._idle_since.get(slot, now) for slot in idle}
        for slot in idle:
            if now - self._idle_since[slot] > IDLE_S:
                self._give_back(slot)

    def _idle(self) -> list[str]:
        busy = [*(remote.host for remote in list(self._courier.remotes.values())), *self._asked]
        return [slot for slot, host in list(self._hosts.items()) if not any(host is other for other in busy)]

    def _give_back(self, slot: str) -> None:
        import ray

        host = self._hosts.pop(slot, None)
        if host is not None:
            ray.kill(host)

    def _tell(self, method: str, attempt: AttemptDir) -> None:
        import ray

        remote = self._courier.remotes.get(_key(attempt))
        if remote is None:
            getattr(self._here, method)(attempt)
        elif remote.placed:
            getattr(remote.host, method).remote(remote.key)
        elif method != "dump":  # it has not begun, and is not to
            remote.cancelled = True
            ray.kill(remote.host)

    def _wanted(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._needs.items() if amount)


def _key(attempt: AttemptDir) -> Key:
    return int(attempt.path.parent.parent.name), attempt.number


def _namespace(run: SweepDir) -> str:
    """The sweep's identity in a cluster, made once, and kept with the record: whoever goes on finds its hosts."""
    if not run.ray.exists():
        write_json(run.ray, {"namespace": f"sweeper-{run.path.absolute().name}-{uuid.uuid4().hex[:12]}"})
    namespace = read_json(run.ray).get("namespace")
    if not isinstance(namespace, str):
        raise RecordError(f"{run.ray}: expected a namespace, got {namespace!r}")
    return namespace


def _work_dir() -> Path:
    return Path(tempfile.gettempdir()) / f"sweeper-{os.geteuid()}-ray"
