"""The report in a browser without a network, in light and dark mode, at several widths."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sweeper.cli import main
from sweeper.record.storage.layout import SweepDir, write_json
from tests.views.report.test_report import spec
from tests.views.synthetic import DECISION, Script, make_trial, play

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script></svg></style>`\x1b[31m$x_1^2$&amp;"
SECTIONS = (
    *("Trials", "Trials stopped early or failed", "accuracy/test", "Training loss", "Reach", "Each parameter"),
    *("Parameters together", "Parameter importance", "Slots", "Gradient of each layer", "Provenance"),
)


@dataclass(kw_only=True)
class Opened:
    """An open page; `errors` are warnings and errors of its console, exceptions, and what could not be loaded."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        take = self.errors.append
        self.page.on("console", lambda said: take(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: take(str(error)))
        self.page.on("requestfailed", lambda request: take(f"{request.url}: {request.failure}"))

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextlib.contextmanager
def opened(browser: Browser, path: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Opened]:
    """A file in a window of so many pixels, without a network."""
    window: ViewportSize = {"width": width, "height": 900}
    context = browser.new_context(viewport=window, color_scheme="dark" if dark else "light", offline=True)
    try:
        one = Opened(page=context.new_page())
        one.page.goto(path.absolute().as_uri())
        yield one
    finally:
        context.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of six trials, one of them pruned, with hostile text in every place that users can write to."""
    run = SweepDir(tmp_path_factory.mktemp("runs") / "s")
    run.path.mkdir()
    origin = {"commit": HOSTILE, "difference": f"+{HOSTILE}\n", "packages": {HOSTILE: HOSTILE}, "host": HOSTILE}
    origin |= {"untracked": [HOSTILE], "environment": {HOSTILE: HOSTILE}, "data": {HOSTILE: {"name": HOSTILE}}}
    described = spec(description=HOSTILE).to_json()
    write_json(run.spec, {"format": 1, "name": HOSTILE, "spec": described, "provenance": origin})
    run.sweep_yaml.write_text(HOSTILE)
    decision = {**DECISION, "reason": HOSTILE}
    for number in range(6):
        params = {"lr": [3e-4, 6e-4][number % 2], "warmup_fraction": [0.1, 0.7, HOSTILE][number % 3], "steps": number}
        shown = {name: params[name] for name in ("lr", "warmup_fraction")}
        stalled = Script(until=131, stalled=True, outcome="stopped", decision=decision)
        play(
            make_trial(run, number, params=params, shown=shown), stalled if number == 2 else Script(until=640 - number)
        )
    assert main(["report", str(run.path)]) == 0
    return run.report / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280, 1900])
def test_every_section_is_drawn_without_an_error_and_fits_its_window(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    with opened(browser, page, width=width, dark=dark) as one:
        heads = one.page.locator("h2")
        assert heads.all_text_contents() == list(SECTIONS)
        drawings = one.page.locator("figure svg, figure img")
        assert drawings.count() == 13  # seven charts, and a depth map per trial
        # Folded sections are drawn only once they are opened.
        one.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        boxes = [drawings.nth(place).bounding_box() for place in range(drawings.count())]
        assert all(box is not None and box["width"] > 300 and box["height"] > 50 for box in boxes)
        broken = "[...document.images].filter(image => !image.naturalWidth).length"
        assert one.page.evaluate(broken) == 0
        assert one.overflow() == 0
        assert one.errors == []


def test_the_colours_change_in_dark_mode(browser: Browser, page: Path) -> None:
    colours = []
    for dark in (False, True):
        with opened(browser, page, dark=dark) as one:
            style = "getComputedStyle(document.body)"
            colours.append(one.page.evaluate(f"[{style}.color, {style}.backgroundColor]"))
    assert colours == [["rgb(28, 28, 28)", "rgb(255, 255, 255)"], ["rgb(230, 230, 230)", "rgb(22, 24, 28)"]]


def test_hostile_names_are_text(browser: Browser, page: Path) -> None:
    with opened(browser, page) as one:
        one.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        shown = one.page.locator("body").inner_text()
        assert shown.count("<script>alert(2)</script>") > 10
        assert "&amp;" in shown
        assert "onerror=alert(1)" in one.page.title()
        assert one.page.locator("script, img[onerror], img:not([src^='data:'])").count() == 0
        assert "<img src=x" in " ".join(one.page.locator("svg text").all_text_contents())


def test_a_click_enlarges_a_depth_profile_and_another_one_shrinks_it(browser: Browser, page: Path) -> None:
    with opened(browser, page) as one:
        image = one.page.locator("img").first
        before = image.bounding_box()
        image.click()
        large = image.bounding_box()
        image.click()
        after = image.bounding_box()
        assert before is not None
        assert large is not None
        assert after is not None
        assert large["width"] > 1.5 * before["width"]
        assert after["width"] == before["width"]
