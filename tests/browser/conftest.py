"""A real browser on a real TensorBoard; skipped, with the reason, where there is none.

What the tests look at is kept as pictures: `SWEEPER_PICTURES=docs/images python -m pytest tests/browser` puts them into
the documentation.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from sweeper.record.storage.layout import SweepDir
from tests.browser.story import NAMES, tell
from tests.views.tensorboard.servers import asked, served_tensorboard, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, NARROW = 1500, 800
HEIGHT = 1000
PATIENCE_MS = 60_000
LARGEST = 150_000
"""Bytes of a picture in the documentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBoardServer:
    """TensorBoard in a browser."""

    browser: Browser
    url: str
    pictures: Path

    @contextlib.contextmanager
    def page(self, tab: str = "", *, width: int = WIDE) -> Iterator[Page]:
        """A page of it, as it is after nothing but its address was asked for; no script on it may fail."""
        errors: list[str] = []
        page = self.browser.new_page(viewport={"width": width, "height": HEIGHT})
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{self.url}{tab}")
        try:
            yield page
        except Exception:
            page.screenshot(path=self.pictures / "failed.png")
            raise
        finally:
            page.close()
        assert errors == []

    def keep(self, page: Page, name: str) -> None:
        """Keep what it looks like: few colours are enough, and small."""
        picture = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        path = self.pictures / f"{name}.png"
        picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size < LARGEST


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of this machine, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason='needs playwright: pip install "sweeper[browser]"')
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium on the PATH; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Chromium's sandbox does not start as root, nor in most containers; it sees loopback only.
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def tensorboard(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorBoardServer]:
    """TensorBoard on the made-up sweep, once it has read all of it."""
    run = SweepDir(tmp_path_factory.mktemp("story") / "runs" / "warmup")
    run.path.mkdir(parents=True)
    tell(run)
    kept = os.environ.get("SWEEPER_PICTURES")
    pictures = Path(kept) if kept else tmp_path_factory.mktemp("pictures")
    with served_tensorboard(run) as url:
        until(lambda: len(asked(url, "runs")) > len(NAMES))  # the documents too
        until(lambda: asked(url, "plugins_listing")["projector"]["enabled"])
        yield TensorBoardServer(browser=browser, url=url, pictures=pictures)
