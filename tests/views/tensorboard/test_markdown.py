"""Hostile text in TensorBoard's markdown, rendered by TensorBoard's own renderer."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.results.evidence import split_evidence
from sweeper.views.tensorboard.markdown import code_block, escaped, table

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # TensorBoard's own copy of html5lib warns of itself
    from tensorboard.plugin_util import markdown_to_safe_html

HOSTILE = (
    "<script>alert(1)</script>",
    "</pre></code><b>x</b>",
    "```\n# head\n```",
    "[x](javascript:alert(1))",
    "| a | b |",
    "*bold* _it_ `code` ![i](http://e.org/x.png)",
    "&lt;b&gt; &amp;",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_shows_as_text(text: str) -> None:
    for rendered in (markdown_to_safe_html(table(("a",), [(text,)])), markdown_to_safe_html(code_block(text))):
        for tag in ("<script", "<b>", "<a ", "<img", "<em", "<strong", "<h1"):
            assert tag not in rendered
    assert markdown_to_safe_html(table(("a",), [(text,)])).count("<td") == 1
    assert markdown_to_safe_html(code_block(text)).count("<pre>") == 1


@given(st.text(max_size=60))
def test_any_code_stays_in_its_block(text: str) -> None:
    rendered = markdown_to_safe_html(code_block(text))
    assert rendered.startswith("<pre><code>")
    assert rendered.endswith("</code></pre>")
    assert rendered.count("<") == 4


def test_escaping_removes_control_characters() -> None:
    assert escaped("a\x1b[31m\x00b\u202ec\ud800") == "a?&#91;31m?b?c?"


def test_evidence_is_split_into_single_values_and_lists_of_rows() -> None:
    single, listed = split_evidence(
        {"statistic": "reach", "median": 5e-5, "window": [[1, 0.5], [2, "nan"]], "none": []}
    )
    assert single == [("statistic", "reach"), ("median", "5e-5"), ("none", "")]
    assert listed == [(["window: step", "reach"], [["1", "0.5"], ["2", "nan"]])]
