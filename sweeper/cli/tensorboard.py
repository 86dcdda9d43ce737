"""`sweeper tensorboard RUN`: look at a run in TensorBoard."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, add_run, existing, port
from sweeper.cli.speech import warn
from sweeper.errors import UsageError
from sweeper.record.layout import SweepDir

if TYPE_CHECKING:
    from sweeper.spec.model import Figures


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "tensorboard", "Show a run in TensorBoard")
    add_run(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=port, help="port to listen on; 0 for any free port (default: the first free one from 6006)"
    )
    parser.set_defaults(run_command=_tensorboard)


def _tensorboard(options: argparse.Namespace) -> int:
    from sweeper.record.lease import is_held
    from sweeper.views.board import serve
    from sweeper.views.process import project

    run = existing(options.run)
    if options.port:
        _expect_free(options.host, options.port)
    if not is_held(run.views_lease):
        figures = _figures_of(run)
        try:
            project(run, figures.every_steps, figures.max_layers, most_runs=figures.most_runs)
        except OSError as error:
            warn(f"{run.tensorboard}: cannot be drawn anew ({error.strerror}); what was drawn before is shown")
    return serve(run, host=options.host, port=options.port)


def _expect_free(host: str, port: int) -> None:
    import socket

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address, family=family):
            pass
    except OSError as error:
        advice = "take another with --port, or 0 for a free one"
        raise UsageError(f"expected that port {port} of {host} is free, got: {error.strerror}; {advice}") from error


def _figures_of(run: SweepDir) -> Figures:
    """What the sweep file asks of the pictures; a trial that was run alone has none."""
    from sweeper.record.layout import read_json
    from sweeper.spec.model import Figures, SweepSpec

    spec = read_json(run.spec).get("spec")
    return SweepSpec.from_json(spec).figures if isinstance(spec, dict) and spec else Figures()
