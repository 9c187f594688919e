"""The files that the server sends beside Streamlit's: its page with plotly.js in it, and plotly.js as installed."""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

A_YEAR = 365 * 24 * 3600  # seconds
SCREENS = Path(__file__).parent / "screens"
PLOTLY = "vitscape/plotly.min.js"


def routes() -> list[Route]:
    """What is answered here and not by Streamlit."""
    pages = ["/", *(f"/{screen.stem}" for screen in SCREENS.glob("*.py") if screen.stem != "explore")]
    return [Route(f"/{PLOTLY}", _plotly_js), Route("/explore", _home), *(Route(page, _page) for page in pages)]


@cache
def page() -> str:
    """Streamlit's page, which loads plotly.js at once: its first chart would else wait for it at the very end."""
    index = (resources.files(st) / "static" / "index.html").read_text(encoding="utf-8")
    return index.replace("<head>", f'<head><script async src="./{PLOTLY}?v={version("plotly")}"></script>', 1)


@cache
def plotly() -> bytes:
    """plotly.js."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()


async def _page(_request: Request) -> Response:
    return HTMLResponse(page(), headers={"Cache-Control": "no-cache"})


async def _home(request: Request) -> Response:
    """Explore under its name: the first page's own address is /."""
    return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/")


def _plotly_js(request: Request) -> Response:
    """plotly.js of the installed package; kept for good by a link that names its version, else asked for each time."""
    tag = f'"{version("plotly")}"'
    kept = request.query_params.get("v") == version("plotly")
    headers = {
        "ETag": tag,
        "Cache-Control": f"public, max-age={A_YEAR}, immutable" if kept else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(_zipped_plotly(), media_type="text/javascript", headers=headers)
    return Response(plotly(), media_type="text/javascript", headers=headers)


@cache
def _zipped_plotly() -> bytes:
    return gzip.compress(plotly(), compresslevel=4)
