"""What a server is told: flags, environment and ``langgraph.json``, as one frozen object.

One module per section of the file; ``loading`` puts them together.
"""

from __future__ import annotations

from loomline.server.settings.browsers import browser_policy, browser_warnings
from loomline.server.settings.checkpointer import SerdeSettings, ThreadTtlSettings
from loomline.server.settings.document import SettingsError
from loomline.server.settings.env import parse_env
from loomline.server.settings.http import CorsSettings, HeaderRules, HttpSettings
from loomline.server.settings.loading import Settings, apply_env, load_settings
from loomline.server.settings.options import JSON_DEPTH_MOST, OPTIONS, RETIRED, Option, as_string
from loomline.server.settings.store import StoreSettings
from loomline.server.settings.webhooks import parse_networks

__all__ = [
    "JSON_DEPTH_MOST",
    "OPTIONS",
    "RETIRED",
    "CorsSettings",
    "HeaderRules",
    "HttpSettings",
    "Option",
    "SerdeSettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "ThreadTtlSettings",
    "apply_env",
    "as_string",
    "browser_policy",
    "browser_warnings",
    "load_settings",
    "parse_env",
    "parse_networks",
]
