"""Webhooks: where they may go, what they say, and how it is proven who says it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from loomline.server.domain.addresses import Address, Network, embedded, reach
from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import Encoded, load_object
from loomline.server.domain.runs import Run

URL_MOST: Final = 65_536

# Characters that parsers of addresses see differently, or that would break a request apart.
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_PORTS = {"http": 80, "https": 443}


class WebhookBlocked(InvalidInput):
    """A webhook that the policy of this server does not allow."""


class WebhookUnresolved(InvalidInput):
    """A webhook whose host has no address at this moment."""

    def __init__(self) -> None:
        super().__init__("Webhook host blocked: DNS resolution failed")


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """Where webhooks may go. Empty ``allowed_domains`` and ``allowed_ports``: any.

    Only hosts in ``allowed_domains`` are sent the configured headers.

    ``allow_loopback``: also to this machine, and by relative URLs into the server itself.
    ``allowed_networks``: addresses that are allowed although they are not public.
    """

    allowed_domains: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    require_https: bool = False
    allow_loopback: bool = False
    max_url_length: int = URL_MOST


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook's URL, taken apart. ``host`` is empty where it leads into the server itself."""

    scheme: str
    host: str
    port: int
    path: str
    userinfo: str = ""

    @property
    def authority(self) -> str:
        """Return what the header ``Host`` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The right to send a webhook once. ``attempt`` counts from 1; ``token`` is the fence.

    ``user`` is the user of the run, encoded: a webhook into the server itself acts as this user.
    """

    webhook_id: UUID
    run_id: UUID
    url: str
    payload: Encoded
    values: Encoded | None
    attempt: int
    token: str
    user: Encoded | None = None


@dataclass(frozen=True, slots=True)
class DeadWebhook:
    """A webhook that was given up, and what the last attempt said."""

    webhook_id: UUID
    run_id: UUID
    url: str
    attempts: int
    error: str
    created_at: datetime
    dead_at: datetime


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """How many webhooks wait and how many were given up; None where nothing waits."""

    pending: int
    dead: int
    oldest_seconds: float | None = None


def parse_target(url: str, policy: WebhookPolicy) -> Target:
    """Take a webhook's URL apart.

    Raises:
        WebhookBlocked: it is none, or the policy does not allow it.
    """
    if len(url) > policy.max_url_length:
        raise WebhookBlocked(
            f"Webhook URL is too long: at most {policy.max_url_length} characters are allowed"
        )
    if _UNSAFE.search(url):
        raise WebhookBlocked("Webhook URL is not valid: it must not contain spaces or backslashes")
    if leads_inside(url):
        return _own(url, policy)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        raise WebhookBlocked("Webhook URL is not valid: its host or port cannot be read") from None
    if parts.scheme not in _PORTS:
        raise WebhookBlocked("Webhook URL is not valid: it must begin with https:// or http://")
    if parts.scheme != "https" and policy.require_https:
        raise WebhookBlocked("Webhook must use https")
    if not _HOST.fullmatch(host):
        raise WebhookBlocked("Webhook URL is not valid: it must name a host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    userinfo = parts.netloc.rpartition("@")[0]
    target = Target(parts.scheme, host, port or _PORTS[parts.scheme], path, userinfo)
    _check_lists(target, policy)
    return target


def leads_inside(url: str) -> bool:
    """Return whether a webhook leads into the server itself."""
    return url.startswith("/") and not url.startswith("//")


def gets_headers(target: Target, policy: WebhookPolicy) -> bool:
    """Return whether the configured headers, which may be secrets, are sent to a target.

    A user chooses the URL, so only the operator's list decides. The server itself never gets them:
    they could be credentials for what the user may not do.
    """
    return bool(target.host) and _in_domains(target.host, policy)


def host_of(url: str) -> str:
    """Return the host that a webhook goes to, as it is told apart from others."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _own(url: str, policy: WebhookPolicy) -> Target:
    if not policy.allow_loopback:
        raise WebhookBlocked("Webhook host blocked: relative URLs are not allowed")
    return Target("http", "", 80, url.partition("#")[0])


def _check_lists(target: Target, policy: WebhookPolicy) -> None:
    if policy.allowed_ports and target.port not in policy.allowed_ports:
        raise WebhookBlocked(f"Webhook port blocked: {target.port} is not an allowed port")
    if policy.allowed_domains and not _in_domains(target.host, policy):
        raise WebhookBlocked("Webhook host blocked: it is not in an allowed domain")


def _in_domains(host: str, policy: WebhookPolicy) -> bool:
    return any(_in_domain(host, domain) for domain in policy.allowed_domains)


def _in_domain(host: str, domain: str) -> bool:
    host, domain = host.lower().rstrip("."), domain.lower()
    if domain.startswith("*."):
        return host.endswith(domain[1:]) and host != domain[2:]
    return host == domain


def check_addresses(addresses: Sequence[str], policy: WebhookPolicy) -> None:
    """Make sure that every address of a host may be connected to.

    Raises:
        WebhookUnresolved: there is none.
        WebhookBlocked: one of them is not public, and not allowed either.
    """
    if not addresses:
        raise WebhookUnresolved
    for text in addresses:
        reason = _reason(ipaddress.ip_address(text.partition("%")[0]), policy)
        if reason is not None:
            raise WebhookBlocked(f"Webhook host blocked: {reason} IP range")


def _reason(address: Address, policy: WebhookPolicy) -> str | None:
    """Return why an address is not allowed; None: it is."""
    meant = embedded(address)
    if any(each in network for network in policy.allowed_networks for each in (address, meant)):
        return None
    far = reach(address)
    if far == "public" or (far == "loopback" and policy.allow_loopback):
        return None
    return far


def notice(
    run: Run,
    status: str,
    *,
    started_at: datetime | None,
    ended_at: datetime,
    error: Encoded | None,
) -> Encoded:
    """Return what a webhook says about a run that has ended, but for the values and the time.

    Args:
        run: The run.
        status: How it ended: a status of runs, or ``rollback``.
        started_at: When its last execution began; None: there was none.
        ended_at: When it ended.
        error: ``{"error": class, "message": text}``, encoded, if there is one.
    """
    fields: dict[str, object] = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "status": status,
        "metadata": run.metadata,
        "multitask_strategy": run.multitask_strategy,
        "created_at": run.created_at,
        "updated_at": ended_at,
        "kwargs": orjson.Fragment(run.request.shown()),
        "cancel_reason": _cancel_reason(run, status, error),
        "langsmith_session_name": None,
        "run_started_at": started_at,
        "run_ended_at": ended_at,
    }
    if error is not None:
        fields["error"] = orjson.Fragment(error)
    return Encoded(orjson.dumps(fields))


def _cancel_reason(run: Run, status: str, error: Encoded | None) -> str | None:
    """Return the reason of a cancellation; of a run that had begun, the error holds the reason."""
    if status != "interrupted":
        return None
    message = None if error is None else load_object(error).get("message")
    return message if isinstance(message, str) else run.stop_reason


def body(delivery: Delivery, now: datetime) -> bytes:
    """Return what is sent: the notice, when it is sent, and the thread's values."""
    sent = orjson.dumps(now)
    values = delivery.values if delivery.values is not None else b"null"
    return delivery.payload[:-1] + b',"webhook_sent_at":' + sent + b',"values":' + values + b"}"


def secret_key(secret: str) -> bytes:
    """Return the key that a secret stands for: ``whsec_`` and base64, as Standard Webhooks has it.

    Raises:
        ValueError: it is not of that form, or shorter than 16 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if len(key) < 16:
        raise ValueError("must be 'whsec_' and at least 16 bytes in base64")
    return key


def signed_headers(
    delivery: Delivery, sent: bytes, now: datetime, keys: Sequence[bytes]
) -> dict[str, str]:
    """Return the headers that name and prove a message, one signature for each key."""
    stamp = str(int(now.timestamp()))
    headers = {"webhook-id": str(delivery.webhook_id), "webhook-timestamp": stamp}
    if keys:
        name = str(delivery.webhook_id)
        headers["webhook-signature"] = " ".join(signature(key, name, stamp, sent) for key in keys)
    return headers


def signature(key: bytes, message_id: str, stamp: str, content: bytes) -> str:
    """Return the signature of a message, as Standard Webhooks defines it."""
    digest = hmac.digest(key, f"{message_id}.{stamp}.".encode() + content, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def retry_delay(attempt: int, base_seconds: float, spread: float) -> float:
    """Return the seconds to wait after an attempt that failed: four times longer after each.

    Args:
        attempt: Which it was, from 1.
        base_seconds: The wait after the first.
        spread: A random number from 0 to 1, so that not all come back at the same moment.
    """
    return min(base_seconds * 4.0 ** min(attempt - 1, 20), 3600.0) * (0.75 + 0.5 * spread)
