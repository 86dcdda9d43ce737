"""Telling others what happens, in the background: whatever comes of it, the sweep goes on as it would.

One notice after the other, in a thread of its own, each within its time. What does not arrive is said once, without the
address, which may be a secret, and is not tried again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.config import ENVIRONMENT, Happening, Notify
from sweeper.record.storage.layout import SweepDir
from sweeper.record.values.redaction import redacted

TEXT = "${text}"
MOST_WAITING = 100
"""Further notices are dropped, and that is said: a thousand trials may fail at once."""


Way = Callable[[Mapping[str, object], Notify], str]
"""Tells something; returns why it could not, empty where it could."""


@dataclass(slots=True)
class Notifier:
    """Tells what the sweep file wants told; nobody, where `notify` is None."""

    run: SweepDir
    name: str
    notify: Notify | None
    _waiting: queue.Queue[Mapping[str, object]] = field(default_factory=lambda: queue.Queue(MOST_WAITING))
    _troubles: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _until: float = math.inf

    def tell(self, what: Happening, text: str, **facts: object) -> None:
        """Tell it, if it is to be told; returns at once."""
        if self.notify is None or what not in self.notify.on:
            return
        body = {
            "event": what.value,
            "sweep": self.name,
            "run": str(self.run.path),
            "text": redacted(f"{self.name}: {text}"),
        }
        try:
            self._waiting.put_nowait({**body, **facts})
        except queue.Full:
            self._troubles.put(f"notify: more than {MOST_WAITING} notices wait, and further ones are dropped")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(self.notify,), daemon=True, name="notify")
            self._thread.start()

    def finish(self) -> None:
        """Nothing more will be told; what waits has as long as two notices may take."""
        self._until = time.monotonic() + 2 * (self.notify.timeout_s if self.notify is not None else 0)

    def is_idle(self) -> bool:
        """Whether all that was to be told has been, or could not be, or its time is over."""
        if self._waiting.unfinished_tasks and time.monotonic() > self._until:
            self._troubles.put("notify: the sweep ended before all was told")
            return True
        return not self._waiting.unfinished_tasks

    def troubles(self) -> Sequence[str]:
        """What could not be told, and why, since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._troubles.get_nowait())
        return found

    def _work(self, notify: Notify) -> None:
        ways: list[tuple[str, Way]] = []
        ways += [("command", self._call)] if notify.command is not None else []
        ways += [("webhook", _post)] if notify.webhook is not None else []
        while True:
            body = self._waiting.get()
            for name, way in ways:
                why = _attempted(way, body, notify)
                if why:
                    self._troubles.put(f"notify: the {name} could not tell what happens: {why}")
            self._waiting.task_done()

    def _call(self, body: Mapping[str, object], notify: Notify) -> str:
        words = [word.replace(TEXT, str(body["text"])) for word in notify.command or ()]
        with self.run.notify_log.open("ab") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            process.communicate(json.dumps(body).encode() + b"\n", timeout=notify.timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"it took longer than {notify.timeout_s:g} s and was killed"
        return f"exit code {process.returncode}; see {self.run.notify_log}" if process.returncode else ""


def _attempted(way: Way, body: Mapping[str, object], notify: Notify) -> str:
    """Why it did not arrive, empty where it did; the address is in none of the reasons."""
    import http.client  # most sweeps tell nobody
    import urllib.error

    try:
        return way(body, notify)
    except urllib.error.HTTPError as error:
        return f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        return error.reason.strerror or "no answer" if isinstance(error.reason, OSError) else "no answer"
    except OSError as error:
        return error.strerror or type(error).__name__
    except (ValueError, http.client.HTTPException) as error:  # of a URL that is none; the text may have it
        return type(error).__name__


def _post(body: Mapping[str, object], notify: Notify) -> str:
    webhook = notify.webhook or ""
    missing = [name for name in ENVIRONMENT.findall(webhook) if name not in os.environ]
    if missing:
        return f"the environment has no {missing[0]}"
    url = ENVIRONMENT.sub(lambda found: os.environ[found[1]], webhook)
    if not url.startswith(("http://", "https://")):
        return "expected a URL, http:// or https://"
    headers = {"Content-Type": "application/json", "User-Agent": "sweeper"}
    import urllib.request

    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - looked at above
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=notify.timeout_s) as answer:  # noqa: S310
        while answer.read1(4096) and time.monotonic() - begun < notify.timeout_s:
            pass
    return ""
