"""Who gives a command: an agent, by the name of its client, for the user that runs the server; and why."""

from __future__ import annotations

from contextvars import ContextVar

from sweeper.agent.text import REASON, shown
from sweeper.errors import UsageError
from sweeper.record.storage.inbox import person

AGENT = "agent:"
"""How the names of agents begin on the record. The name of a user cannot contain a colon."""
UNNAMED = "unnamed client"
CLIENT: ContextVar[str] = ContextVar("CLIENT", default=UNNAMED)
"""The name of the client whose call is being answered."""


def author() -> str:
    """Return who gives a command, for the record: `agent:claude-code for alice on laptop`."""
    return f"{AGENT}{shown(CLIENT.get()) or UNNAMED} for {person()}"


def is_agent(by: str) -> bool:
    """Return whether the author of a command on the record is an agent."""
    return by.startswith(AGENT)


def reason(because: str) -> str:
    """Return the reason of a command on one line.

    Raises:
        UsageError: there is none.
    """
    text = shown(because, REASON).lstrip("- ")  # the command line would take it for an option
    if not text:
        raise UsageError("because: expected a reason for the record, in one sentence, got none")
    return text
