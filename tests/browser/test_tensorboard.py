"""What a person sees of a sweep in TensorBoard: the runs, their curves, both figures, and why one was pruned."""

from __future__ import annotations

import pytest

from sweeper.views.tensorboard.curves import comparison_charts
from tests.browser.conftest import NARROW, WIDE, TensorBoardServer
from tests.browser.story import DIMENSIONS, DOCUMENTS, NAMES, PRUNED_AT, REASON

BOTH = pytest.mark.parametrize("width", [WIDE, NARROW], ids=["wide", "narrow"])
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def named(name: str, width: int) -> str:
    return name if width == WIDE else f"{name}-narrow"


@BOTH
def test_it_opens_on_all_runs_compared(tensorboard: TensorBoardServer, width: int) -> None:
    with tensorboard.page(width=width) as page:
        for title in comparison_charts("accuracy/test"):
            chart = page.locator("tf-custom-scalar-multi-line-chart-card").filter(has_text=title)
            # One of the four has a single evaluation, so no line.
            chart.locator("path.line[d^=M]").nth(len(NAMES) - 2).wait_for(state="attached")
        for name in NAMES:
            page.get_by_text(name).first.wait_for()
        assert page.url.endswith("#custom_scalars")
        tensorboard.keep(page, named("tensorboard", width))


@BOTH
def test_both_figures_of_a_run_are_shown(tensorboard: TensorBoardServer, width: int) -> None:
    with tensorboard.page("#images", width=width) as page:
        page.locator("tf-tag-filterer input").fill("gradients|update ratios")
        for tag in ("gradients", "update ratios"):
            card = page.locator("tf-image-loader").filter(has_text=f"tag: {tag}").filter(has_text=NAMES[2]).first
            card.scroll_into_view_if_needed()
            picture = card.locator("img")
            picture.wait_for()
            assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 0
        tensorboard.keep(page, named("tensorboard-images", width))


@BOTH
def test_the_first_text_says_why_a_run_was_pruned(tensorboard: TensorBoardServer, width: int) -> None:
    with tensorboard.page("#text", width=width) as page:
        reason = page.get_by_text(REASON)
        reason.wait_for()
        box = reason.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < page.viewport_size["height"]  # type: ignore[index]  # it was set
        tensorboard.keep(page, named("tensorboard-decision", width))


@BOTH
def test_hparams_has_a_row_for_each_trial_and_shows_its_status(tensorboard: TensorBoardServer, width: int) -> None:
    with tensorboard.page("#hparams", width=width) as page:
        for name in NAMES:
            page.get_by_text(name).first.wait_for(state="attached")
        # Of many metrics, the first five are columns until one asks for more.
        page.locator("paper-checkbox").filter(has_text="pruned/step").first.click()
        page.get_by_text(f"{PRUNED_AT}.00").first.wait_for(state="attached")
        tensorboard.keep(page, named("tensorboard-hparams", width))


@BOTH
def test_the_projector_draws_the_documents(tensorboard: TensorBoardServer, width: int) -> None:
    with tensorboard.page("#projector", width=width) as page:
        projector = page.frame_locator("iframe").frame_locator("iframe")
        projector.get_by_text(f"Points: {DOCUMENTS}").wait_for()
        assert projector.get_by_text(f"Dimension: {DIMENSIONS}").is_visible()
        projector.locator("#colorby").click()
        projector.locator("#colorby paper-item").filter(has_text="class").first.click()
        projector.locator("vz-projector-legend").wait_for(state="attached")
        tensorboard.keep(page, named("tensorboard-projector", width))
