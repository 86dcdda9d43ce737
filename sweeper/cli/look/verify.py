"""`sweeper verify`: check the record of a run against its checksums."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, add_run, no_run
from sweeper.cli.exit_codes import FAILED, OK
from sweeper.record.storage.layout import SweepDir

if TYPE_CHECKING:
    from sweeper.results.verification import Verification


def add(commands: Commands) -> None:
    """Their arguments."""
    verify = add_command(commands, "verify", "Check the record of a run against its checksums")
    add_run(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run_command=_verify)


def _verify(options: argparse.Namespace) -> int:
    from sweeper.results.verification import verify

    run = SweepDir(options.run)
    if not run.spec.exists() and not (run.path / "trials").is_dir():
        raise no_run(run.path)
    found = verify(run)
    if options.json:
        print(json.dumps(_to_json(found), indent=1))
    else:
        print("\n".join(_lines(run, found)))
    return FAILED if found.damage else OK


def _lines(run: SweepDir, found: Verification) -> list[str]:
    from sweeper.results.wording import counted, plain

    checkpoints = counted(found.checkpoints, "checkpoint", "checkpoints")
    checked = (
        f"{counted(found.lines, 'line', 'lines')}, {counted(found.files, 'file', 'files')}, "
        f"{counted(found.rows, 'row', 'rows')} of layers.f32 and {checkpoints}"
    )
    places = counted(len(found.damage), "damaged place", "damaged places") if found.damage else "no damage"
    lines = [plain(str(one)) for one in found.damage]
    lines += [plain(f"harmless: {one}") for one in found.harmless]
    lines.append(f"{run.path}: {places} in {checked}")
    if found.lines_without or found.files_without or found.rows_without:
        without = (
            f"{counted(found.lines_without, 'line', 'lines')}, {counted(found.files_without, 'file', 'files')} and "
            f"{counted(found.rows_without, 'row', 'rows')}"
        )
        lines.append(f"{without} have no checksum, because an older version wrote them")
    return lines


def _to_json(found: Verification) -> dict[str, object]:
    return {
        "damage": [{"file": str(one.file), "line": one.line or None, "what": one.what} for one in found.damage],
        "harmless": [{"file": str(one.file), "line": one.line or None, "what": one.what} for one in found.harmless],
        "checked": {name: getattr(found, name) for name in ("lines", "files", "rows", "checkpoints")},
        "without_checksum": {
            "lines": found.lines_without,
            "files": found.files_without,
            "rows": found.rows_without,
        },
    }
