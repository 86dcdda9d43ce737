"""How Sphinx builds the site. What it warns of is an error in `make docs`: a link that leads nowhere, first of all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import sweeper  # noqa: E402 - of the checkout, which the line above made known
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
default_role = "code"  # in docstrings single backquotes are code
nitpicky = False  # types of other libraries are named, not linked: that would take a network

# Headings have the anchors that GitHub gives them, so that a link works there and here.
myst_heading_anchors = 5
myst_fence_as_directive = ["mermaid"]

# The trial API is documented by its docstrings; the libraries that it is used with need not be there for that.
autodoc_mock_imports = ["lightning", "torch", "transformers"]
autodoc_class_signature = "separated"  # nobody makes these classes himself
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Of links to other sites (`make docs-links`): those that ask who one is, and that differ by who asks.
linkcheck_anchors = False
linkcheck_timeout = 20
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]


def setup(app: Sphinx) -> None:
    """Write the pages that follow from the code, before Sphinx looks which pages there are."""
    app.connect("builder-inited", lambda _: write_pages(HERE / "generated"))
    app.connect("source-read", _lead_to_pages)


def _lead_to_pages(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Have links to the results of benchmarks, which lie outside of this folder, lead to the pages made of them."""
    source[0] = source[0].replace("](../benchmarks/results/", "](generated/")
