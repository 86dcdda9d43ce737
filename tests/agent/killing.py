"""A client that kills the server at random moments, and counts what it was promised."""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.end_to_end.test_sweeps import ROOT

PATIENCE_S = 120.0
LONGEST_S = (0.003, 0.01, 0.03, 0.1, 0.3, 4.0)
"""The moments lie between a command and these times after it: within the answer to it, and within a start."""


class Server:
    """The server as a process of its own, over a pipe."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", "mcp", "--act", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._sent, self._read = 0, b""
        client = {"name": "killer", "version": "1"}
        self.send("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        assert self.answer(PATIENCE_S) is not None
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, method: str, **params: Any) -> None:
        self._sent += 1
        self._write({"jsonrpc": "2.0", "id": self._sent, "method": method, "params": params})

    def call(self, tool: str, **arguments: Any) -> None:
        self.send("tools/call", name=tool, arguments=arguments)

    def answer(self, timeout: float) -> dict[str, Any] | None:
        """Return the answer to the last request; None if none comes in time, or the server is gone."""
        assert self.process.stdout is not None
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0 and select.select([self.process.stdout], [], [], left)[0]:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            *lines, self._read = (self._read + data).split(b"\n")
            for line in lines:
                message: dict[str, Any] = json.loads(line)
                if message.get("id") == self._sent:
                    return message
        return None

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()


def is_promised(answer: dict[str, Any] | None) -> bool:
    """Return whether the server answered that a command was handed over."""
    return answer is not None and "result" in answer and not answer["result"].get("isError", False)


def killed_again_and_again(folder: Path, kills: int, seed: int, running: Any) -> tuple[list[int], list[int]]:
    """Kill the server so often, each time at a random moment after it was given a command.

    Args:
        folder: a folder with `sweep.yaml`, of the name `killed` and with one parameter `lr`.
        kills: how often.
        seed: of the moments.
        running: returns whether a process runs the sweep now.

    Returns:
        The values of `lr` that were sent to be added, and those of them that were promised.
    """
    moments = random.Random(seed)
    sent: list[int] = []
    promised: list[int] = []
    for kill in range(kills):
        server = Server(folder)
        if running() or (sent and moments.random() < 1 / 2):
            sent.append(1000 + kill)
            server.call("add", run="killed", params={"lr": sent[-1]}, because=f"before kill {kill}")
        else:
            server.call("run", file="sweep.yaml", because=f"before kill {kill}")
        answer = server.answer(moments.choice(LONGEST_S) * moments.random())
        if is_promised(answer) and sent and sent[-1] == 1000 + kill:
            promised.append(sent[-1])
        server.kill()
    return sent, promised
