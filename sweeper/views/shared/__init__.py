"""What the report and the live page have in common: colours of states, the health timeline, and code in sentences."""

from __future__ import annotations

import re

from markupsafe import Markup, escape


def with_code(text: object) -> Markup:
    """Return a sentence with the text in backticks set as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped first
