"""`sweeper mcp`: serve tools for agents by the Model Context Protocol."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from sweeper.cli.arguments import RUNS, Commands, add_command, port, positive
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import warn
from sweeper.cli.output import put
from sweeper.errors import ExtraMissing, UsageError

TOKEN = "SWEEPER_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with the token for --http; without it, one is made."""


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "mcp", "Serve tools for agents by the Model Context Protocol")
    parser.add_argument(
        "runs", type=Path, nargs="?", default=RUNS, metavar="RUNS", help="directory of the runs (default: runs)"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="directory to work in, which has the sweep files and RUNS (default: the current one)",
    )
    parser.add_argument(
        "--act", action="store_true", help="allow commands, such as run, stop and add (default: look only)"
    )
    parser.add_argument(
        "--max-trials",
        type=positive,
        metavar="N",
        help="maximum number of trials that agents cause (default: no limit)",
    )
    parser.add_argument(
        "--max-gpu-hours", type=_hours, metavar="H", help="maximum GPU hours that agents use (default: no limit)"
    )
    parser.add_argument(
        "--http", action="store_true", help="serve over HTTP on 127.0.0.1, with a token (default: stdio)"
    )
    parser.add_argument("--port", type=port, default=0, metavar="PORT", help="port for --http (default: any)")
    parser.add_argument("--skill", action="store_true", help="print a skill file for coding agents, and serve nothing")
    parser.set_defaults(run_command=_mcp)


def _mcp(options: argparse.Namespace) -> int:
    if options.skill:
        put((Path(__file__).parents[2] / "agent" / "SKILL.md").read_text(encoding="utf-8"))
        return OK
    if find_spec("mcp") is None:
        raise ExtraMissing("sweeper mcp", "mcp", "agent")
    from sweeper.agent.budget import Budget, Limits
    from sweeper.agent.look import Look
    from sweeper.service.service import Service

    if not options.directory.is_dir():
        raise UsageError(f"{options.directory}: expected a directory to work in")
    if not options.act and (options.max_trials is not None or options.max_gpu_hours is not None):
        raise UsageError("--max-trials and --max-gpu-hours: expected --act too; without it, agents can start nothing")
    os.chdir(options.directory)
    service = Service(options.runs)
    budget = Budget(Limits(trials=options.max_trials, gpu_hours=options.max_gpu_hours), service)
    look = Look(service=service, budget=budget, directory=Path.cwd(), can_act=options.act)
    if options.http:
        from sweeper.agent import http
        from sweeper.service.access import new_token

        token = os.environ.get(TOKEN, "")
        if token and len(token) < http.SHORTEST_TOKEN:
            raise UsageError(f"{TOKEN}: expected at least {http.SHORTEST_TOKEN} characters, got {len(token)}")
        token = token or new_token()
        http.serve(look, port=options.port, token=token, say=lambda url: warn(f"{url} takes the token {token}"))
        return OK
    from sweeper.agent import server

    server.serve(look)
    return OK


def _hours(text: str) -> float:
    """A number of hours above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected hours above 0, got {text}")
    return value
