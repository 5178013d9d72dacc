"""IP addresses: which belong to this machine, which to a private network, and which are public.

The tables are ours: the properties of ``ipaddress`` change with the patch release of Python.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

Reach: TypeAlias = Literal["loopback", "link-local", "private", "public"]
"""How far an address reaches. ``private``: every range that is not for the public internet."""

_LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_LINK_LOCAL: Final[tuple[Network, ...]] = (
    IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"),
)  # fmt: skip

# The special-purpose registry of IANA (RFC 6890 and its updates), multicast, and one address that
# a cloud has taken from public space for its own host.
_PRIVATE_V4: Final = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared space of carriers
        "168.63.129.16/32",  # the host of virtual machines of Azure
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # protocol assignments; clouds serve metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112: answers for private addresses
        "192.52.193.0/24",  # automatic multicast tunneling
        "192.88.99.0/24",  # relays of 6to4, withdrawn
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)

# Everything that is public in IPv6 is within this range; these parts of it are not.
_UNICAST_V6: Final = IPv6Network("2000::/3")
_PRIVATE_V6: Final = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
# The well-known prefix alone: that of a network's own translator, 64:ff9b:1::/48, is private.
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")


def reach(address: Address) -> Reach:
    """Return how far an address reaches; an IPv6 address counts as the IPv4 address within it."""
    meant = embedded(address)
    if _within(meant, _LOOPBACK):
        return "loopback"
    if _within(meant, _LINK_LOCAL):
        return "link-local"
    if isinstance(meant, IPv4Address):
        return "private" if _within(meant, _PRIVATE_V4) else "public"
    public = meant in _UNICAST_V6 and not _within(meant, _PRIVATE_V6)
    return "public" if public else "private"


def embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _MAPPED or address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _6TO4:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address


def parse_address(text: str) -> Address | None:
    """Return the address that a string is, with or without brackets; None: it is a name."""
    try:
        return ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return whether a name or address is this machine's own under every resolver."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = parse_address(name)
    return address is not None and reach(address) == "loopback"


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
