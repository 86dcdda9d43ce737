"""The official SDK's client, which drives `sweeper mcp` as a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import jsonschema
from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import Implementation, TextContent

from tests.end_to_end.test_sweeps import ROOT

CLIENT = "tester"


class Refused(Exception):
    """A tool answered with an error."""


class Agent:
    """A client, which checks that each answer is valid."""

    def __init__(self, client: Client, schemas: dict[str, Any]) -> None:
        self.client, self.schemas = client, schemas

    async def call(self, tool: str, **arguments: Any) -> Any:
        result = await self.client.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        if result.is_error:
            raise Refused(content.text)
        answer = json.loads(content.text)
        assert answer == result.structured_content
        jsonschema.validate(answer, self.schemas[tool])
        return answer


@asynccontextmanager
async def agent_of(server: Any, name: str = CLIENT) -> AsyncIterator[Agent]:
    async with Client(server, client_info=Implementation(name=name, version="1")) as client:
        tools = (await client.list_tools()).tools
        yield Agent(client, {tool.name: tool.output_schema for tool in tools})


def server_in(folder: Path, *options: str) -> Any:
    """Return a transport that starts the server; a client passes few variables on by itself."""
    kept = {name: os.environ[name] for name in ("SWEEPER_SLOTS", "SCIKIT_LEARN_DATA") if name in os.environ}
    env = {"PYTHONPATH": str(ROOT), **kept}
    arguments = ["-m", "sweeper.cli", "mcp", "--directory", str(folder), *options]
    return stdio_client(StdioServerParameters(command=sys.executable, args=arguments, env=env))


def drive(server: Any, does: Callable[[Agent], Awaitable[Any]], name: str = CLIENT) -> Any:
    """Connect, do something, and return its result."""

    async def main() -> Any:
        async with agent_of(server, name) as agent:
            return await does(agent)

    return anyio.run(partial(main))
