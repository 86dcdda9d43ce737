"""`sweeper ui` in a browser: live, brushed, steered, narrow and wide, light and dark.

    SWEEPER_PICTURES=docs/images python -m pytest tests/browser/test_ui.py

keeps the pictures of the documentation.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.ui import make_record
from sweeper.record.events import Metrics
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.record.storage.lease import acquire
from sweeper.results.front import front_of
from sweeper.results.status import read_sweep
from tests.browser.story import Story
from tests.browser.sweep_story import tell
from tests.end_to_end.test_sweeps import LEARNER, Sweep, grid, until
from tests.results.test_front import LATENCY, LOSS, MEMORY
from tests.results.test_front import make as make_several
from tests.ui.client import HOSTILE, hostile_run, make_run
from tests.ui.test_server import served
from tests.views.report.test_report import spec
from tests.views.synthetic import Script, began, diagnose, make_trial, play

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Response, ViewportSize

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PATIENCE_MS = 60_000
NARROW, WIDE = 400, 1600
HEIGHT = 1150
LARGEST = 150_000
"""Bytes of a picture in the documentation."""
MAPS = "Applying inline style violates"
"""What Chromium says of the styles of plotly's maps, which the page does not let in and does not need."""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@dataclass(kw_only=True)
class Opened:
    """A page of the server in a window, after the address with the token was opened."""

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        take = self.errors.append
        self.page.on("console", lambda said: take(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: take(str(error)))
        self.page.on("request", lambda asked: None if asked.url.startswith(self.own) else take(f"asked {asked.url}"))

    @property
    def own(self) -> tuple[str, ...]:
        return (self.address, "data:", "blob:")

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.address}{path}")
        return self.page

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def drawn(self) -> None:
        """Wait until the charts are there."""
        self.page.locator("#curves .main-svg").first.wait_for()


@contextlib.contextmanager
def opened(
    browser: Browser, address: str, token: str, *, width: int = WIDE, dark: bool = False, height: int = 1000
) -> Iterator[Opened]:
    window: ViewportSize = {"width": width, "height": height}
    context = browser.new_context(viewport=window, color_scheme="dark" if dark else "light", reduced_motion="reduce")
    try:
        one = Opened(page=context.new_page(), address=address)
        one.page.goto(f"{address}/?token={token}")
        one.page.wait_for_url(re.compile(r"/(runs/[^?]*)?$"))
        yield one
        assert [error for error in one.errors if MAPS not in error] == []
    finally:
        context.close()


class QuietHandler(SimpleHTTPRequestHandler):
    """The server of another site."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@dataclass(frozen=True, slots=True)
class Served:
    address: str
    token: str


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The made-up sweep, as if a process ran it, and another one with long names."""
    runs = tmp_path_factory.mktemp("ui") / "runs"
    for name, long_names in (("warmup", False), ("names-that-are-long-" * 3, True)):
        run = SweepDir(runs / name)
        run.path.mkdir(parents=True)
        tell(run, long_names=long_names)
    lease = acquire(SweepDir(runs / "warmup").lease, holder="a test")
    assert lease is not None
    with served(str(runs), "--port", "0") as (_, address, token):
        yield Served(address, token)
    lease.release()


@pytest.fixture
def site(browser: Browser, story: Served) -> Iterator[Opened]:
    with opened(browser, story.address, story.token) as one:
        yield one


def comes(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own waiting is a script that the page's policy refuses."""
    until(lambda: page.evaluate(f"Boolean({expression})"))


def keep(page: Page, name: str) -> None:
    """Keep a picture for the documentation, if they are asked for."""
    if "SWEEPER_PICTURES" not in os.environ:
        return
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    kept = Path(os.environ["SWEEPER_PICTURES"]) / f"{name}.png"
    picture.quantize(160, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(kept, optimize=True)
    assert kept.stat().st_size < LARGEST


# ---- looks


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, 800, WIDE, 2000])
def test_every_page_fits_its_window_and_is_drawn_without_an_error(
    browser: Browser, story: Served, width: int, dark: bool
) -> None:
    with opened(browser, story.address, story.token, width=width, dark=dark) as one:
        paths = [
            "/runs/warmup",
            "/runs/warmup/trials/8",
            "/runs/warmup/compare/0/8",
            f"/runs/{'names-that-are-long-' * 3}",
        ]
        for path in paths:
            one.open(path)
            one.drawn()
            assert one.overflow() <= 0, path
        one.open("/")
        assert one.page.locator("tbody tr").count() == 2
        assert one.overflow() <= 0


@pytest.mark.parametrize("width", [NARROW, 500, 600, 700, 1000])
def test_the_health_of_each_trial_is_in_sight_without_scrolling(browser: Browser, story: Served, width: int) -> None:
    in_sight = """[...document.querySelectorAll('#table tbody tr')].map(row => {
        const cells = [...row.querySelectorAll('.health, .narrow')].filter(one => one.checkVisibility());
        const words = document.createRange();
        words.selectNodeContents(cells[0]);
        const box = words.getBoundingClientRect(), frame = row.closest('.scroll').getBoundingClientRect();
        return [cells.length, cells[0].textContent.trim(), box.left >= frame.left && box.right <= frame.right];
    })"""
    with opened(browser, story.address, story.token, width=width) as one:
        page = one.open("/runs/warmup?states=PRUNED")
        assert page.evaluate(in_sight) == [[1, "vanishing since 110", True]] * 15
        page = one.open(f"/runs/{'names-that-are-long-' * 3}")
        assert all(cell[0] == 1 and cell[2] for cell in page.evaluate(in_sight))
        page.locator("[data-sort=health]:visible").click()
        comes(page, "document.querySelector('tbody tr').dataset.state === 'WAITING'")  # "-" comes before the words
        assert one.overflow() <= 0


def test_the_colours_follow_the_system_and_the_switch(browser: Browser, story: Served) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, story.address, story.token, dark=True) as one:
        page = one.open("/runs/warmup")
        assert page.evaluate(ground) == "rgb(20, 22, 26)"
        page.locator("#theme").click()
        assert page.evaluate(ground) == "rgb(251, 251, 250)"
        page.reload()
        assert page.evaluate(ground) == "rgb(251, 251, 250)"
        page.locator("#theme").click()
        page.locator("#theme").click()
        assert page.evaluate(ground) == "rgb(20, 22, 26)"


def test_it_can_be_used_with_the_keyboard_alone(site: Opened) -> None:
    page = site.open("/runs/warmup")
    site.drawn()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#sort-number").focus()
    page.keyboard.press("Enter")
    comes(page, "document.querySelector('tbody tr').dataset.number === '0'")
    assert page.evaluate("document.activeElement.id") == "sort-number"  # the table was drawn anew under the focus
    page.locator("#pick-0").focus()
    page.keyboard.press("Space")
    page.locator("#pick-2").focus()
    page.keyboard.press("Space")
    page.locator("#compare").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare/0/2")


def test_screen_readers_get_names_for_everything(site: Opened) -> None:
    page = site.open("/runs/warmup")
    site.drawn()
    unnamed = """[...document.querySelectorAll('button, input, select, textarea, [role=img], [role=region], nav, form')]
        .filter(one => !one.closest('dialog') && !one.closest('.main-svg'))
        .filter(one => !(one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.labels?.length
            || (one.tagName === 'BUTTON' && one.textContent.trim())))
        .map(one => one.outerHTML.slice(0, 120))"""
    assert page.evaluate(unnamed) == []
    assert "trial 42 ends at" in (page.locator("#curves").get_attribute("aria-label") or "")
    assert page.locator("th[scope=col][aria-sort=ascending]").count() == 1
    assert page.locator("h1").count() == 1


# ---- what can be done


def test_brushing_an_axis_chooses_rows_of_the_table(site: Opened) -> None:
    page = site.open("/runs/warmup")
    page.locator("#parallel[role=img]").wait_for()
    box = page.locator("#parallel").bounding_box()
    assert box is not None
    x = box["x"] + 46
    page.mouse.move(x, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 160, steps=4)
    page.mouse.up()
    comes(page, "document.querySelector('#tally').textContent.includes('match')")
    rates = {float(text) for text in page.locator("tbody tr td.param:nth-of-type(5)").all_text_contents()}
    assert rates == {8e-4, 1.2e-3}
    assert "brush=" in page.url
    chip = page.locator("#brushes .chip")
    assert (chip.text_content() or "").startswith("lr: ")
    page.reload()
    assert page.locator("#brushes .chip").count() == 1
    assert "16" in (page.locator("#tally").text_content() or "")
    page.locator("#brushes .chip").click()
    comes(page, "!document.querySelector('#tally').textContent.includes('match')")


def test_ranges_can_be_chosen_by_keyboard(site: Opened) -> None:
    page = site.open("/runs/warmup")
    page.locator("#parallel[role=img]").wait_for()
    page.locator(".ranges summary").click()
    page.get_by_label("lowest lr").fill("0.001")
    page.get_by_label("lowest lr").press("Tab")
    comes(page, "document.querySelector('#tally').textContent.trim().startsWith('8 of')")


def small(runs: Path, name: str, trials: Sequence[tuple[dict[str, object], float | None]]) -> None:
    """Make up a sweep of these parameters and final values; a trial without a value waits."""
    run = SweepDir(runs / name)
    run.path.mkdir(parents=True)
    write_json(run.spec, {"format": 1, "name": name, "spec": spec().to_json()})
    for number, (shown, value) in enumerate(trials):
        trial = make_trial(run, number, shown=shown, params=shown)
        if value is not None:
            play(trial, Story(comes_to=value))


def strokes(page: Page, x: int) -> int:
    """Return how many strokes a vertical line crosses in the parallel coordinates, below the names of the axes."""
    return int(
        page.evaluate(
            """x => {
                const canvas = document.querySelector('#parallel canvas');
                const pixels = canvas.getContext('2d').getImageData(x, 34, 1, canvas.height - 54).data;
                let count = 0, before = false;
                for (let at = 3; at < pixels.length; at += 4) {
                    const inked = pixels[at] > 40;
                    if (inked && !before) count += 1;
                    before = inked;
                }
                return count;
            }""",
            x,
        )
    )


def test_a_small_sweep_has_a_line_for_each_trial(browser: Browser, tmp_path: Path) -> None:
    low: dict[str, object] = {"lr": 1e-4}
    high: dict[str, object] = {"lr": 3e-4}
    small(tmp_path, "waits", [(low, 0.8), (high, None)])
    small(tmp_path, "equal", [({**low, "depth": 2}, 0.8), ({**low, "depth": 2}, 0.8)])
    small(tmp_path, "seeds", [({**low, "depth": 2}, 0.8), ({**low, "depth": 2}, None)])
    bluest = "getComputedStyle(document.documentElement).getPropertyValue('--value-4').trim()"
    with served(str(tmp_path), "--port", "0") as (_, address, token), opened(browser, address, token) as one:
        page = one.open("/runs/waits")
        page.locator("#parallel[role=img]").wait_for()
        assert strokes(page, 44) == 1  # a dot on the axis, because no line goes on from there
        said = "1 of 2 trials has no finite value of accuracy/test so far"
        assert said in (page.locator("#parallel-which").text_content() or "")
        for name, missing in (("equal", False), ("seeds", True)):
            page = one.open(f"/runs/{name}")
            page.locator("#parallel[role=img]").wait_for()
            assert strokes(page, 200) == 2, name
            assert ("has no finite value" in page.inner_text("#parallel-which")) is missing
        page = one.open("/runs/waits")
        page.locator("#parallel[role=img]").wait_for()
        inked = """[...document.querySelector('#parallel canvas').getContext('2d').getImageData(300, 34, 1, 240).data]
            .filter((_, at, all) => all[at - at % 4 + 3] > 150).slice(0, 3)"""
        drawn, best = page.evaluate(inked), bytes.fromhex(page.evaluate(bluest).removeprefix("#"))
        assert max(abs(a - b) for a, b in zip(drawn, best, strict=True)) <= 3  # the best of a few is drawn as the best


def test_the_table_is_filtered_by_a_click_on_a_count(site: Opened) -> None:
    page = site.open("/runs/warmup")
    page.locator(".count.pruned").click()
    comes(page, "document.querySelector('#tally').textContent.trim().startsWith('15 of')")
    assert page.locator("tbody .state.pruned").count() == 15
    page.locator("#clear").click()
    comes(page, "document.querySelectorAll('#table tbody tr').length === 48")


def test_the_slider_goes_through_the_depth_profiles(site: Opened) -> None:
    page = site.open("/runs/warmup/trials/8")
    page.locator("#depth .main-svg").first.wait_for()
    slider, value = page.locator("#depth-step"), page.locator("#depth-value")
    assert (value.text_content() or "").startswith("160, reach")
    at_the_end = page.locator("#depth").get_attribute("aria-label")
    slider.focus()
    page.keyboard.press("Home")
    comes(page, "document.querySelector('#depth-value').textContent.startsWith('0,')")
    assert slider.get_attribute("aria-valuetext") != ""
    comes(page, f"document.querySelector('#depth').ariaLabel !== {json.dumps(at_the_end)}")
    page.keyboard.press("ArrowRight")
    comes(page, "document.querySelector('#depth-value').textContent.startsWith('10,')")


def test_curves_change_their_metric_axis_and_smoothing(site: Opened) -> None:
    page = site.open("/runs/warmup")
    site.drawn()
    page.select_option("#metric", "loss/train")
    comes(page, "document.querySelector('#curves').ariaLabel.startsWith('Curves of loss/train over step')")
    page.select_option("#by", "time")
    comes(page, "document.querySelector('#curves').ariaLabel.startsWith('Curves of loss/train over time')")
    page.check("#log-y")
    page.locator("#smooth").fill("0.5")
    comes(page, "document.querySelector('#curves')._fullLayout.yaxis.type === 'log'")
    comes(page, "document.querySelector('#curves').data.length === 20")  # each once more, as it is
    page.reload()
    comes(page, "document.querySelector('#curves').ariaLabel.startsWith('Curves of loss/train over time')")


# ---- a trial is derived


@pytest.fixture
def family(tmp_path: Path) -> SweepDir:
    """A sweep of which trial 2 was stopped and has three checkpoints; trial 6 was derived from it."""
    run = make_run(tmp_path / "runs", "family")
    checkpoints = run.trial(2).checkpoints
    checkpoints.mkdir()
    names = {step: f"step-{step:09d}.0123456789abcdef.pt" for step in (60, 100, 120)}
    for name in names.values():
        (checkpoints / name).touch()
    diagnose(run.trial(2), began("vanishing_gradient", 110, 130))
    shown = {"lr": 1e-4, "warmup_fraction": 0.9}
    derived = {"parent": 2, "step": 60, "checkpoint": names[60], "changes": {"lr": 1e-4}, "by": "ada"}
    child = make_trial(run, 6, params=shown, shown=shown, configuration=-1, derived=derived)
    play(child, Script(until=640))
    return run


def test_a_trial_is_derived_on_its_page(browser: Browser, family: SweepDir) -> None:
    with (
        served(str(family.path), "--port", "0") as (_, address, token),
        opened(browser, address, token, width=NARROW) as one,
    ):
        page = one.open("/runs/family/trials/2")
        one.drawn()
        page.locator("[data-command=derive]").click()
        page.locator("#command[open]").wait_for()
        options = [text.strip() for text in page.locator("#command-at option").all_text_contents()]
        assert options[0] == "step 120: vanishing gradient held"
        assert options[1] == "step 100 (newest healthy)"
        assert options[-1] == "the start, without a checkpoint"
        assert page.locator("#command-at").input_value() == "100"
        assert page.get_by_label("lr", exact=True).get_attribute("placeholder") == "0.0003"
        page.get_by_label("lr", exact=True).fill("fast")
        page.locator("#command-go").click()
        comes(page, "document.querySelector('#command-error').textContent.includes('expected a number')")
        assert "command line" not in page.inner_text("#command-error")
        assert not family.inbox.exists() or not list(family.inbox.iterdir())
        one.errors[:] = [error for error in one.errors if "400 (Bad Request)" not in error]  # what was refused
        page.get_by_label("lr", exact=True).fill("1e-5")
        page.fill("#command-by", "ada")
        page.fill("#command-because", "a lower rate may hold")
        page.check("#command-fresh")
        assert one.overflow() <= 0
        keep(page, "ui-derive")
        page.locator("#command-go").click()
        page.locator(".toast.good").wait_for()
        assert "derive for 0002" in page.inner_text(".toast.good")
    (path,) = family.inbox.iterdir()
    sent = json.loads(path.read_text())
    assert (sent["number"], sent["at"], sent["changes"], sent["fresh_optimizer"]) == (2, 100, {"lr": 1e-5}, True)
    assert (sent["by"], sent["because"]) == ("ada (page)", "a lower rate may hold")


def test_the_page_of_a_trial_has_its_lineage_with_links(browser: Browser, family: SweepDir) -> None:
    with served(str(family.path), "--port", "0") as (_, address, token), opened(browser, address, token) as one:
        page = one.open("/runs/family/trials/6")
        one.drawn()
        lineage = page.locator("section[aria-labelledby=lineage-head]")
        words = "It is derived from trial 0002 by ada, after step 60, with lr=1e-4 (it was 3e-4)."
        assert words in " ".join(lineage.inner_text().split())
        lineage.get_by_role("link", name="0002").click()
        page.wait_for_url("**/trials/2")
        row = page.locator("#children tbody tr")
        assert row.count() == 1
        assert "step 60" in row.inner_text()
        assert "lr=1e-4" in row.inner_text()
        row.get_by_role("link").click()
        page.wait_for_url("**/trials/6")
        page.go_back()
        page.locator("[data-command=derive]").wait_for()


def test_a_trial_is_derived_from_the_table(browser: Browser, family: SweepDir) -> None:
    with served(str(family.path), "--port", "0") as (_, address, token), opened(browser, address, token) as one:
        page = one.open("/runs/family")
        assert page.locator("[data-command=derive]").is_disabled()
        page.check("#pick-3")
        page.locator("[data-command=derive]").click()
        comes(page, "document.querySelector('#command-at').value === '-1'")  # it has no checkpoint


# ---- several objectives


def test_the_pareto_front_is_that_of_the_report_and_its_points_open_trials(browser: Browser, tmp_path: Path) -> None:
    chance = random.Random(5)
    losses = [chance.uniform(0.2, 2.0) for _ in range(40)]
    values = [
        {LOSS: loss, LATENCY: 4 / loss + chance.uniform(0, 12), MEMORY: 18 if number % 9 == 4 else 8}
        for number, loss in enumerate(losses)
    ]
    run = make_several(
        tmp_path, [(one, "stopped" if number % 11 == 3 else "completed") for number, one in enumerate(values)]
    )
    front = [trial.number for trial in front_of(read_sweep(run).trials)]
    assert len(front) > 2
    with served(str(run.path), "--port", "0") as (_, address, token), opened(browser, address, token) as one:
        page = one.open("/runs/s")
        page.locator("#front .main-svg").first.wait_for()
        said = page.locator("#front").get_attribute("aria-label") or ""
        assert f"{len(front)} on the Pareto front" in said
        names = page.evaluate("document.querySelector('#front').data.map(one => one.name)")
        assert {"complete", "stopped early", "beyond a constraint", "Pareto front"} <= {*names}
        drawn = page.evaluate(
            "document.querySelector('#front').data.find(one => one.name === 'Pareto front').customdata"
        )
        assert [number for _, number, _ in drawn] == front
        assert one.overflow() <= 0
        page.locator("#front").scroll_into_view_if_needed()
        keep(page, "ui-front")
        point = "#front .scatterlayer .trace:last-child .point, #front .scatterlayer .trace .point"
        page.locator(point).last.click(force=True)
        page.wait_for_url(re.compile(r"/trials/\d+$"))
    with (
        served(str(run.path), "--port", "0") as (_, address, token),
        opened(browser, address, token, width=NARROW, dark=True) as one,
    ):
        one.open("/runs/s").locator("#front .main-svg").first.wait_for()
        assert one.overflow() <= 0
        one.page.locator("#front").scroll_into_view_if_needed()
        keep(one.page, "ui-front-narrow-dark")


# ---- safety


def test_a_wrong_token_opens_nothing(browser: Browser, story: Served) -> None:
    context = browser.new_context()
    page = context.new_page()
    for path in ("/", "/runs/warmup", "/?token=wrong", "/runs/warmup?token="):
        answer = page.goto(f"{story.address}{path}")
        assert answer is not None
        assert answer.status == 401
        assert "needs the token" in page.inner_text("body")
        assert "accuracy" not in page.content()
    assert context.cookies() == []
    context.close()


def test_the_cookie_is_not_for_scripts_and_the_token_leaves_the_address(site: Opened) -> None:
    assert "token" not in site.page.url
    assert site.page.evaluate("document.cookie") == ""
    (cookie,) = site.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    run = hostile_run(tmp_path)
    with served(str(tmp_path), "--port", "0") as (_, address, token), opened(browser, address, token) as one:
        alerts: list[str] = []

        def heard(dialog: Dialog) -> None:
            alerts.append(dialog.message)
            dialog.dismiss()

        one.page.on("dialog", heard)
        for path in ("", "/trials/6", "/compare/0/6"):
            one.open(f"/runs/{run.path.name}{path}")
            one.page.wait_for_timeout(1500)
            assert HOSTILE[:20] in one.page.inner_text("body")
            assert one.page.locator("img").count() == 0
        assert alerts == []


def test_another_site_can_neither_frame_it_nor_send_commands(browser: Browser, story: Served, tmp_path: Path) -> None:
    commands = f"{story.address}/runs/warmup/commands"
    answers: list[Response] = []

    def heard(answer: Response) -> None:  # playwright takes no builtin function
        answers.append(answer)

    attack = f"""<body><iframe src="{story.address}/runs/warmup"></iframe><form method="post" enctype="text/plain"
        action="{commands}"><input name='{{"command": "stop", "x": "' value='"}}'></form></body>"""
    (tmp_path / "index.html").write_text(attack)
    handler = partial(QuietHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other, opened(browser, story.address, story.token) as one:
        Thread(target=other.serve_forever, daemon=True).start()
        page = one.page.context.new_page()  # another port of the same host, with which the cookies are shared
        page.on("response", heard)
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        how = "{method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}'}"
        page.evaluate(f"fetch('{commands}', {how}).catch(() => 0)")
        assert page.frames[1].url != f"{story.address}/runs/warmup" or "accuracy" not in page.frames[1].content()
        page.evaluate("document.forms[0].submit()")
        page.wait_for_url(commands)
        assert "another site" in page.inner_text("body")
        other.shutdown()
    refused = [answer.status for answer in answers if answer.url.startswith(story.address)]
    assert set(refused) == {403}
    assert len(refused) > 1


# ---- a sweep that runs


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Sweep]:
    sweep = Sweep(
        tmp_path,
        LEARNER,
        grid("live", pace=0.1)
        | {"parameters": {"lr": {"values": [1, 2, 3]}, "pace": {"value": 0.15}, "steps": {"value": 5000}}},
    )
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: list(sweep.run_directory.glob("trials/*/attempts/*/events.jsonl")))
    yield sweep
    process.kill()
    process.communicate()


def test_the_page_follows_a_sweep_that_runs_and_stops_a_trial_of_it(browser: Browser, running: Sweep) -> None:
    with (
        served(str(running.folder / "runs"), "--port", "0") as (_, address, token),
        opened(browser, address, token) as one,
    ):
        page = one.open("/runs/live")
        page.locator("#live[data-state=live]").wait_for()
        step = "Number(document.querySelector('#trial-0')?.dataset.step ?? -1)"
        begun = page.evaluate(step)
        comes(page, f"{step} > {begun + 3}")
        site = page.evaluate("performance.getEntriesByType('navigation').length")
        assert site == 1
        one.drawn()
        page.check("#pick-0")
        page.locator("[data-command=stop][data-for=trials]").click()
        page.fill("#command-by", "ada")
        page.fill("#command-because", "it is only a test")
        page.locator("#command-go").click()
        page.locator(".toast.good").wait_for()
        assert "stop for 0000" in page.inner_text(".toast.good")
        comes(page, "document.querySelector('#trial-0').dataset.state === 'PRUNED'")
        page.goto(f"{address}/runs/live/trials/0")
        assert "ada (page)" in page.inner_text("#trial")
        assert "it is only a test" in page.inner_text("#trial")
        page.goto(f"{address}/runs/live")
        page.locator("[data-command=stop][data-for=sweep]").click()
        page.locator("#command-go").click()
        comes(page, "document.querySelector('#headline').textContent.startsWith('Interrupted')")


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Sweep]:
    """A sweep of one trial that runs and keeps checkpoints, with a free slot."""
    parameters = {"lr": {"values": [1]}, "pace": {"value": 0.1}, "steps": {"value": 5000}}
    file = grid("live") | {"parameters": parameters, "checkpoint": {"every_steps": 5, "keep_healthy": 100}}
    sweep = Sweep(tmp_path, LEARNER, file)
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: len(list(sweep.run_directory.glob("trials/0000*/checkpoints/step-*"))) > 1)
    yield sweep
    process.send_signal(signal.SIGINT)  # its trials end with it
    process.communicate()


def derive_on_page(page: Page, rate: str) -> int:
    """Derive a trial on the page of trial 0; return the step of the checkpoint that is offered first."""
    page.locator("[data-command=derive]").click()
    page.locator("#command[open]").wait_for()
    step = int(page.locator("#command-at").input_value())
    page.get_by_label("lr", exact=True).fill(rate)
    page.fill("#command-by", "ada")
    page.fill("#command-because", "another rate")
    page.locator("#command-go").click()
    page.locator(".toast.good", has_text="derive for 0000: sent to the process that runs it").first.wait_for()
    return step


def test_a_trial_of_a_sweep_that_runs_is_derived_and_trains_on(browser: Browser, growing: Sweep) -> None:
    run = SweepDir(growing.run_directory)
    with (
        served(str(growing.folder / "runs"), "--port", "0") as (_, address, token),
        opened(browser, address, token) as one,
    ):
        page = one.open("/runs/live/trials/0")
        step = derive_on_page(page, "2")
        assert step >= 0
        page.locator("#children tbody tr .state.running").wait_for()  # the page follows by itself
        assert f"step {step}" in page.inner_text("#children")
        page = one.open("/runs/live")
        comes(page, f"Number(document.querySelector('#trial-1')?.dataset.step ?? -1) > {step + 2}")
        assert "← 0000" in page.inner_text("#trial-1")
        page = one.open("/runs/live/trials/1")
        words = " ".join(page.inner_text("section[aria-labelledby=lineage-head]").split())
        assert f"It is derived from trial 0000 by ada (page), after step {step}, with lr=2 (it was 1)" in words
        steps = [event.step for event in read_journal(run.trial(1).attempt(1).events) if isinstance(event, Metrics)]
        assert steps[0] == step + 1
        page = one.open("/runs/live/trials/0")
        page.locator("[data-command=stop]").click()
        page.locator("#command-go").click()
        page.locator("#head .state.pruned").wait_for()
        derive_on_page(page, "3")  # of a trial that has ended, while the sweep runs
        page.locator("#children tbody tr .state.running").nth(1).wait_for()


# ---- ten thousand trials


def test_ten_thousand_trials_are_shown_a_page_at_a_time(browser: Browser, tmp_path: Path) -> None:
    make_record(tmp_path, 10_000)
    with served(str(tmp_path / "many"), "--port", "0") as (_, address, token), opened(browser, address, token) as one:
        one.page.wait_for_url("**/runs/many")
        one.page.locator("#table").wait_for()  # the page that waits for the first reading has no table
        one.page.reload()
        one.drawn()
        assert one.page.locator("tbody tr").count() == 50
        assert "10,000" in one.page.inner_text("#tally")
        one.page.locator("#parallel[role=img]").wait_for()
        assert one.page.evaluate(FIRST_PAINT) > 0  # how long it took is measured by benchmarks/ui.py
        one.page.locator("#page-last").click()
        comes(one.page, "document.querySelector('#tally').textContent.includes('9,951 to 10,000')")
        one.page.fill("#text", "optimizer=lion")
        comes(one.page, "document.querySelector('#tally').textContent.includes('match')")


# ---- pictures


PICTURES = {
    "ui": ("/runs/warmup", WIDE, False),
    "ui-dark": ("/runs/warmup", WIDE, True),
    "ui-narrow": ("/runs/warmup", NARROW, False),
    "ui-narrow-dark": ("/runs/warmup/trials/8", NARROW, True),
    "ui-trial": ("/runs/warmup/trials/8", WIDE, False),
}


@pytest.mark.skipif("SWEEPER_PICTURES" not in os.environ, reason="takes pictures only with SWEEPER_PICTURES")
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(browser: Browser, story: Served, name: str) -> None:
    path, width, dark = PICTURES[name]
    with opened(browser, story.address, story.token, width=width, dark=dark, height=HEIGHT) as one:
        one.open(path)
        one.drawn()
        one.page.wait_for_timeout(1500)
        keep(one.page, name)
