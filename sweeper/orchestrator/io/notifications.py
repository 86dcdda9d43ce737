"""Send notifications about the sweep by a command or a webhook, in the background; failures never affect the sweep.

One thread sends one notification after the other, each within a time limit. A notification that fails is not sent
again; the failure is reported without the address, which may be a secret.
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
from sweeper.record.storage import confined
from sweeper.record.storage.layout import SweepDir
from sweeper.record.values.redaction import redacted

TEXT = "${text}"
MOST_QUEUED = 100
"""Further notifications are dropped with a message, because a thousand trials may fail at once."""
MOST_LOG_BYTES = 1_000_000
"""Once notify.log is larger, the next command starts it anew."""

Sender = Callable[[Mapping[str, object], Notify], str]
"""Sends a notification; returns why that failed, or an empty string."""


@dataclass(slots=True)
class Notifier:
    """Sends the notifications that the sweep file asks for; none if `notify` is None."""

    run: SweepDir
    name: str
    notify: Notify | None
    _queue: queue.Queue[Mapping[str, object]] = field(default_factory=lambda: queue.Queue(MOST_QUEUED))
    _troubles: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None
    _deadline: float = math.inf

    def send(self, what: Happening, text: str, **facts: object) -> None:
        """Queue a notification if the sweep file asks for this event; return at once."""
        if self.notify is None or what not in self.notify.on:
            return
        body = {
            "event": what.value,
            "sweep": self.name,
            "run": str(self.run.path),
            "text": redacted(f"{self.name}: {text}"),
        }
        try:
            self._queue.put_nowait({**body, **facts})
        except queue.Full:
            self._troubles.put(f"notify: more than {MOST_QUEUED} notifications are queued; further ones are dropped")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(self.notify,), daemon=True, name="notify")
            self._thread.start()

    def finish(self) -> None:
        """Take in that no notification will follow; the queued ones have twice the time limit of one to be sent."""
        self._deadline = time.monotonic() + 2 * (self.notify.timeout_s if self.notify is not None else 0)

    def is_idle(self) -> bool:
        """Return whether every notification was sent or has failed, or the time for sending them is over."""
        if self._queue.unfinished_tasks and time.monotonic() > self._deadline:
            self._troubles.put("notify: the sweep ended before all notifications were sent")
            return True
        return not self._queue.unfinished_tasks

    def troubles(self) -> Sequence[str]:
        """Return the failures since the last call, as messages."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._troubles.get_nowait())
        return found

    def _work(self, notify: Notify) -> None:
        senders: list[tuple[str, Sender]] = []
        senders += [("command", self._run_command)] if notify.command is not None else []
        senders += [("webhook", _post)] if notify.webhook is not None else []
        while True:
            body = self._queue.get()
            for name, sender in senders:
                why = _try(sender, body, notify)
                if why:
                    self._troubles.put(f"notify: the {name} failed: {why}")
            self._queue.task_done()

    def _run_command(self, body: Mapping[str, object], notify: Notify) -> str:
        words = [word.replace(TEXT, str(body["text"])) for word in notify.command or ()]
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(confined.open_file(self.run.notify_log, flags), "ab") as log:
            if log.tell() > MOST_LOG_BYTES:
                log.truncate(0)
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


def _try(sender: Sender, body: Mapping[str, object], notify: Notify) -> str:
    """Send a notification; return why that failed, without the address, or an empty string."""
    import http.client  # slow to import, and most sweeps send no notifications
    import urllib.error

    try:
        return sender(body, notify)
    except urllib.error.HTTPError as error:
        redirect = ", a redirect, which is not followed" if 300 <= error.code < 400 else ""  # noqa: PLR2004
        return f"HTTP status {error.code}{redirect}"
    except urllib.error.URLError as error:
        return error.reason.strerror or "no answer" if isinstance(error.reason, OSError) else "no answer"
    except OSError as error:
        return error.strerror or type(error).__name__
    except (ValueError, http.client.HTTPException) as error:  # an invalid URL; the text of the error may contain it
        return type(error).__name__


def _post(body: Mapping[str, object], notify: Notify) -> str:
    webhook = notify.webhook or ""
    missing = [name for name in ENVIRONMENT.findall(webhook) if name not in os.environ]
    if missing:
        return f"the environment variable {missing[0]} is not set"
    url = ENVIRONMENT.sub(lambda found: os.environ[found[1]], webhook)
    if not url.startswith(("http://", "https://")):
        return "expected a URL that starts with http:// or https://"
    headers = {"Content-Type": "application/json", "User-Agent": "sweeper"}
    import urllib.request

    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the scheme was checked above
    begun = time.monotonic()

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """Follows no redirect: another host was not asked for, and would be sent a request without the text."""

        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(NoRedirect)
    with opener.open(request, timeout=notify.timeout_s) as answer:
        while answer.read1(4096) and time.monotonic() - begun < notify.timeout_s:
            pass
    return ""
