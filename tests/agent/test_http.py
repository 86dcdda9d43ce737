"""Over HTTP, only a request to this host, from no web page, and with the token is answered."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx2
import pytest
from mcp.client.streamable_http import streamable_http_client

from tests.agent.driving import agent_of
from tests.end_to_end.test_sweeps import ROOT

BODY = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


class Served(NamedTuple):
    port: int
    token: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", "mcp", "--http"],
        cwd=tmp_path_factory.mktemp("served"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/mcp takes the token (\S+)\n", line)
    assert found is not None, line
    yield Served(int(found[1]), found[2])
    process.terminate()
    process.communicate()


def status(served: Served, **headers: str) -> int:
    """Return the status of a request; headers that are empty are left out."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    given = {"Authorization": f"Bearer {served.token}", "Host": f"127.0.0.1:{served.port}"} | headers
    connection.putrequest("POST", "/mcp", skip_host=True, skip_accept_encoding=True)
    for name, value in {
        **given,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }.items():
        if value:
            connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(BODY)))
    connection.endheaders(BODY)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic dTpw"}, 401),
        ({"Host": ""}, 400),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=lambda value: "-".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value),
)
def test_other_requests_are_refused(served: Served, headers: dict[str, str], expected: int) -> None:
    assert status(served, **{name: value.format(port=served.port) for name, value in headers.items()}) == expected


def test_the_official_client_is_answered(served: Served) -> None:
    async def main() -> object:
        headers = {"Authorization": f"Bearer {served.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as client:
            url = f"http://127.0.0.1:{served.port}/mcp"
            async with agent_of(streamable_http_client(url, http_client=client)) as agent:
                return await agent.call("runs")

    answer = anyio.run(main)
    assert answer == {"runs": [], "left_out": 0, "next": "a person can start one: `sweeper run FILE`"}


def test_it_listens_on_the_loopback_interface_only(served: Served) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {fields[1].split(":")[0] for fields in listening if fields[1].endswith(f":{served.port:04X}")}
    assert addresses == {"0100007F"}
