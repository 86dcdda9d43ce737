"""The pictures of gradients and update ratios."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from sweeper.record.events import Observation, Watching
from sweeper.record.values.depth_profile import STATISTICS
from sweeper.views.figures.canvas import Values
from sweeper.views.figures.panels import SIZE
from sweeper.views.figures.tensor_names import LONGEST, tensor_order
from sweeper.views.figures.trial_figures import TrialFigures
from tests.views.synthetic import row_of, watching

FIGURES = TrialFigures(models=4)


def seen(tensors: tuple[str, ...], layer_of: tuple[int, ...] = ()) -> Watching:
    count = len(tensors)
    return Watching(
        layers=tensors,
        tensors=tensors,
        sizes=(1,) * count,
        layer_of=layer_of or tuple(range(count)),
        statistics=STATISTICS,
        every=10,
    )


def observed(step: int = 0) -> Observation:
    return Observation(step=step, row=0, reach=math.nan, update_ratio=0.1, learning_rate=1e-3)


def values(shown: Watching, row: Sequence[float]) -> dict[str, Values]:
    table = np.array(row, np.float64).reshape(len(shown.tensors), len(shown.statistics))
    return dict(zip(shown.statistics, table.T, strict=True))


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_names_of_bert_are_short_and_distinct() -> None:
    names = tensor_order(watching(), 75).names
    assert {"3.query", "3.attention.LayerNorm", "3.intermediate.dense", "3.output.dense", "pooler.dense"} <= set(names)
    assert names[0] == "emb.word_embeddings"
    assert names[-1] == "classifier"
    assert len(set(names)) == len(names) == 102
    assert max(map(len, names)) <= LONGEST


@pytest.mark.parametrize(
    ("tensors", "names"),
    [
        (("fc.weight",), ("fc",)),
        (("weight",), ("weight",)),
        (("0.weight", "2.weight", "2.bias"), ("0", "2", "2.bias")),
        (("layers.0.blocks.1.qkv.weight", "layers.1.blocks.1.qkv.weight"), ("0.1.qkv", "1.1.qkv")),
        (("encoder.0.q.weight", "decoder.0.q.weight"), ("encoder.0.q", "decoder.0.q")),
        (("modèle.w",), ("mod?le.w",)),
    ],
)
def test_names(tensors: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert tensor_order(seen(tensors), 75).names == names


def test_tensors_stand_in_the_order_of_the_layers_with_norms_behind_theirs() -> None:
    depth = tensor_order(seen(("emb", "late", "late_norm", "early", "early_norm"), (-1, 1, -1, 0, -1)), 75)
    assert depth.order == (0, 3, 4, 1, 2)


@pytest.mark.parametrize("count", [1, 12, 76, 300])
def test_pictures_have_their_size_at_any_number_of_tensors(count: int) -> None:
    shown = seen(tuple(f"model.layers.{i // 4}.{'abcd'[i % 4]}.weight" for i in range(count)))
    drawn = TrialFigures().draw(shown, values(shown, [1e-4] * count * len(STATISTICS)), observed())
    assert set(drawn) == {"gradients", "update ratios"}
    assert all(Image.open(io.BytesIO(png)).size == SIZE for png in drawn.values())


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -1.0, 1e-30, 1e30])
def test_values_beyond_the_axes_are_drawn_without_complaint(value: float) -> None:
    shown = watching(3)
    FIGURES.draw(shown, values(shown, [value] * len(shown.tensors) * len(STATISTICS)), observed())


def test_frames_leave_nothing_behind() -> None:
    shown, figures = watching(3), FIGURES
    healthy, faded = (values(shown, row_of(shown, step, stalled=step > 0)) for step in (0, 300))
    first = figures.draw(shown, healthy, observed())
    assert (pixels(figures.draw(shown, faded, observed(300))["gradients"]) != pixels(first["gradients"])).any()
    assert figures.draw(shown, healthy, observed()) == first


def test_few_models_are_kept() -> None:
    figures = TrialFigures(models=1)
    for name in ("a.weight", "b.weight"):
        figures.draw(seen((name,)), values(seen((name,)), [1e-4] * len(STATISTICS)), observed())
    assert len(figures._pictures) == 1  # there is no other way to check the memory bound


def test_markup_in_tensor_names_is_text() -> None:
    shown = seen(("$x_{$", "a\x00b", "层.weight"))
    TrialFigures().draw(shown, values(shown, [1e-4] * 3 * len(STATISTICS)), observed())
