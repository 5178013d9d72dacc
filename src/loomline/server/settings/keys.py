"""The keys of ``langgraph.json``: which of them work, and the remedy for each of the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from loomline.server.settings.document import Document, Json

_NO_IMAGES: Final = (
    "Loomline builds no images: write a Dockerfile that installs loomline[server] and your"
    " packages, and that starts 'loomline serve'"
)

WORKING: Final[Mapping[str, tuple[str, ...]]] = {
    "": (
        "$schema", "graphs", "dependencies", "env", "python_version", "store", "checkpointer",
        "auth", "encryption", "priority", "http", "webhooks", "loomline",
    ),
    "graphs.*": ("path", "description"),
    "store": ("index", "ttl"),
    "store.index": ("dims", "embed", "fields"),
    "store.ttl": ("refresh_on_read", "default_ttl", "sweep_interval_minutes"),
    "checkpointer": ("path", "ttl", "serde"),
    "checkpointer.ttl": ("strategy", "default_ttl", "sweep_interval_minutes", "sweep_limit"),
    "checkpointer.serde": ("allowed_json_modules", "allowed_msgpack_modules", "pickle_fallback"),
    "auth": (
        "path", "disable_studio_auth", "openapi", "cache", "private", "api_keys", "jwt",
    ),
    "auth.cache": ("cache_keys", "ttl_seconds", "max_size"),
    "auth.api_keys": ("file", "env"),
    "auth.jwt": (
        "issuer", "audience", "algorithms", "jwks_url", "secret_env", "identity_claim",
        "permissions_claim", "leeway_seconds",
    ),
    "encryption": ("path",),
    "priority": ("path",),
    "http": (
        "app", "disable_assistants", "disable_threads", "disable_runs", "disable_store",
        "disable_mcp", "disable_a2a", "disable_meta", "disable_ui", "disable_webhooks", "cors",
        "configurable_headers", "logging_headers", "middleware_order", "enable_custom_route_auth",
        "mount_prefix", "allowed_hosts",
    ),
    "http.cors": (
        "allow_origins", "allow_methods", "allow_headers", "allow_credentials",
        "allow_origin_regex", "expose_headers", "max_age",
    ),
    "http.configurable_headers": ("includes", "excludes", "include", "exclude"),
    "http.logging_headers": ("includes", "excludes", "include", "exclude"),
    "webhooks": ("env_prefix", "url", "headers"),
    "webhooks.url": (
        "require_https", "allowed_domains", "allowed_ports", "max_url_length", "disable_loopback",
    ),
}  # fmt: skip
"""The keys that work, by the object they are in. Objects without an entry may have any keys."""

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "node_version": "Loomline serves graphs in Python; see docs/serving.md for other languages",
    "ui": 'Loomline serves no components: serve them from the application in "http.app"',
    **dict.fromkeys(
        (
            "api_version", "base_image", "image_distro", "dockerfile_lines", "pip_config_file",
            "pip_installer", "source", "keep_pkg_tools", "_INTERNAL_docker_tag",
        ),
        _NO_IMAGES,
    ),
}  # fmt: skip
"""The keys that have no effect, each with the remedy."""


def key_warnings(document: Document) -> tuple[str, ...]:
    """Return sentences about the keys of the file that have no effect.

    Keys with the same remedy share a sentence.
    """
    remedies: dict[str, list[str]] = {}
    unknown: list[str] = []
    for parent, key, place in _all_keys(document):
        name = f"{parent}.{key}" if parent else key
        if name in WITHOUT_EFFECT:
            remedies.setdefault(WITHOUT_EFFECT[name], []).append(f'"{name}"')
        elif key not in WORKING[_pattern(parent)]:
            unknown.append(_unknown(place, parent, key))
    known = (
        f"{', '.join(names)} in {document.place} {'has' if len(names) == 1 else 'have'} no effect:"
        f" {remedy}."
        for remedy, names in remedies.items()
    )
    return (*unknown, *known, *_python(document))


def _all_keys(document: Document) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of the file and of sections from the environment, each with its place."""
    for parent, key in _keys("", document.values):
        yield parent, key, document.place
    for name, section in document.borrowed.items():
        for parent, key in _keys(name, section.values):
            yield parent, key, section.place


def _keys(parent: str, values: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the keys of all objects that may not have any key, each with its object's name."""
    free = _pattern(parent) not in WORKING
    for key, value in values.items():
        name = f"{parent}.{key}" if parent else key
        if not free:
            yield parent, key
        if isinstance(value, dict) and (not free or parent == "graphs"):
            yield from _keys(name, value)


def _pattern(parent: str) -> str:
    return "graphs.*" if parent.startswith("graphs.") else parent


def _unknown(place: str, parent: str, key: str) -> str:
    where = f'"{parent:.100}" in {place}' if parent else place
    prefix = f"{parent}." if parent else ""
    others = [name.removeprefix(prefix) for name in WITHOUT_EFFECT if name.startswith(prefix)]
    known = [*WORKING[_pattern(parent)], *others]
    nearest = get_close_matches(key, known, n=1, cutoff=0.5)
    remedy = f"Did you mean '{nearest[0]}'?" if nearest else f"Known: {', '.join(sorted(known))}."
    return f"Unknown key '{key:.100}' in {where} has no effect. {remedy}"


def _python(document: Document) -> tuple[str, ...]:
    wanted, found = document.values.get("python_version"), "{}.{}".format(*sys.version_info)
    if wanted is None or str(wanted) == found:
        return ()
    warning = (
        f'"python_version" in {document.place} is {wanted!s:.20}, but this server runs on Python'
        f" {found}. Install loomline with the Python that your graphs need."
    )
    return (warning,)
