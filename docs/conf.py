"""The settings of Sphinx. `make docs` treats its warnings as errors, above all broken links."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import sweeper  # noqa: E402 - from the checkout, after the path is set
from docs.generate import write_pages  # noqa: E402 - the same

project = "sweeper"
release = version = sweeper.__version__
html_title = "sweeper"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_copyright = False
html_show_sphinx = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
source_suffix = [".md"]
exclude_patterns = ["images"]
highlight_language = "text"
default_role = "code"  # single backquotes in docstrings are code
nitpicky = False  # links to types of other libraries would need a network

# Headings get GitHub's anchors, so that links work there and here.
myst_heading_anchors = 5
myst_fence_as_directive = ["mermaid"]

# The trial API is documented from its docstrings, without the libraries that it is used with.
autodoc_mock_imports = ["lightning", "torch", "transformers"]
autodoc_class_signature = "separated"  # users do not create these classes themselves
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Links to other sites (`make docs-links`) that need a login, or differ between visitors, are ignored.
linkcheck_anchors = False
linkcheck_timeout = 20
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]


def setup(app: Sphinx) -> None:
    """Write the pages that are generated from the code, before Sphinx lists the pages."""
    app.connect("builder-inited", lambda _: write_pages(HERE / "generated"))
    app.connect("source-read", _lead_to_pages)


def _lead_to_pages(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Redirect links to results of benchmarks, which are outside of this folder, to the pages made from them."""
    for up, down in (("](../../benchmarks/results/", "](../generated/"), ("](../benchmarks/results/", "](generated/")):
        source[0] = source[0].replace(up, down)
