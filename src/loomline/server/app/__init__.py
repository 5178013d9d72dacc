"""The composition root: the only package that names implementations."""

from __future__ import annotations

from loomline.server.app.drivers import make_storage
from loomline.server.app.process import Service, create_app, create_service

__all__ = ["Service", "create_app", "create_service", "make_storage"]
