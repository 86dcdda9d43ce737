"""Take the pictures of the live table and of the report for the documentation from a run.

    python docs/pictures.py runs/warmup docs/images

Needs Chromium (Debian: `apt-get install chromium`). The tests in a browser take the pictures of TensorBoard:

    SWEEPER_PICTURES=docs/images python -m pytest tests/browser
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from sweeper.record.storage.layout import SweepDir
from sweeper.results.status import read_sweep
from sweeper.views.terminal.rich_tables import ranking_table
from sweeper.views.terminal.table import status_table

CHROMIUM = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    options = parser.parse_args()
    options.images.mkdir(parents=True, exist_ok=True)
    table(SweepDir(options.run), options.images / "live.png")
    report(options.run, options.images / "report.png")


def table(run: SweepDir, path: Path) -> None:
    """Draw the table and the ranking, as a terminal of 110 columns shows them."""
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    sweep = read_sweep(run)
    console.print(status_table(sweep, width=110))
    console.print()
    console.print(ranking_table(sweep, width=110))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "table.html"
        svg = console.export_svg(title=f"sweeper run experiments/{sweep.name}.yaml")
        width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
        page.write_text(f"<body style='margin:0'>{svg.replace('<svg ', f'<svg width={width!r} ')}</body>")
        screenshot(page.as_uri(), path, width=int(float(width)), height=int(float(height)))


def report(run: Path, path: Path) -> None:
    """Save the first screen of the report."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "sweeper.cli", "report", str(run), "--out", folder], check=True)
        screenshot((Path(folder) / "report.html").as_uri(), path, width=1100, height=1290)


def screenshot(url: str, path: Path, *, width: int, height: int) -> None:
    """Save what Chromium shows of a page after it has loaded."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("expected Chromium on the PATH; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        size = [f"--window-size={width},{height}", f"--user-data-dir={profile}", f"--screenshot={path.absolute()}"]
        command = [chromium, *CHROMIUM, *size, "--virtual-time-budget=20000", url]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(path)


if __name__ == "__main__":
    main()
