"""The page that shows the API. It is one file without any outside address."""

from __future__ import annotations

from importlib.resources import files


def page() -> str:
    """Return the page; it reads ``openapi.json`` from the server it came from."""
    return files("loomline.server.api").joinpath("docs.html").read_text(encoding="utf-8")
