"""A page in Chromium without a window: what it looks like, and what its console says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WHY_NOT = "no Chromium here (on Debian: apt-get install chromium)"
"""The system's own: none is downloaded for the tests."""


@dataclass(kw_only=True)
class Opened:
    """An open page; `complaints` are warnings and errors of its console, exceptions, and what could not be loaded."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self._take(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self._take(str(error)))
        self.page.on("requestfailed", lambda request: self._take(f"{request.url}: {request.failure}"))

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def _take(self, text: str) -> None:
        self.complaints.append(text)


@contextmanager
def opened(path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Opened]:
    """A file in a browser that has no network, in a window of so many pixels."""
    assert CHROMIUM is not None, WHY_NOT
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
            )
            one = Opened(page=context.new_page())
            one.page.goto(path.absolute().as_uri())
            yield one
        finally:
            browser.close()
