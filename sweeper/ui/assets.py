"""The files of the page: its own styles and scripts, and the charts' library, which comes inside its Python package."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata, resources, util
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sweeper.errors import ExtraMissing
from sweeper.views import shared

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PLOTLY = "package_data/plotly.min.js"
FOREVER = "private, max-age=31536000, immutable"


async def own_file(request: Request) -> Response:
    """Return one of the page's own files; a browser asks again each time, and is told if it has not changed."""
    content, kind, tag = _file(request.path_params["file"])
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


async def plotly(request: Request) -> Response:
    """Return the charts' library; the address names its version, so it is kept."""
    if request.path_params["version"] != plotly_version():
        raise HTTPException(404)
    return FileResponse(plotly_file(), media_type="text/javascript", headers={"cache-control": FOREVER})


def plotly_version() -> str:
    """Return the version of the charts' library."""
    return metadata.version("plotly")


@lru_cache(maxsize=1)
def plotly_file() -> Path:
    """Return the charts' library, without importing its package.

    Raises:
        ExtraMissing: it is not installed.
    """
    found = util.find_spec("plotly")
    places = [] if found is None else list(found.submodule_search_locations or ())
    for place in places:
        if (path := Path(place) / PLOTLY).is_file():
            return path
    raise ExtraMissing("sweeper ui", "plotly", "ui")


@lru_cache(maxsize=64)
def _file(name: str) -> tuple[bytes, str, str]:
    """Return the content of an own file, its type, and a tag that differs if it does."""
    folders = (resources.files("sweeper.ui") / "static", resources.files(shared))
    known = {file.name: file for folder in folders for file in folder.iterdir() if Path(file.name).suffix in TYPES}
    if name not in known:
        raise HTTPException(404)
    content = known[name].read_bytes()
    return content, TYPES[Path(name).suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"'
