"""The client's address: walk `X-Forwarded-For` from the right over `TRUSTED_PROXIES`.

The leftmost value is written by the client and never trusted. With no trusted proxy the
peer is the client, whatever the header says.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

from compliance_site.foundation.env import Network

Address = IPv4Address | IPv6Address


def client_ip(request: HttpRequest) -> str | None:
    """Return the address that the nearest trusted hop vouches for, None when there is none."""
    peer = parse_address(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    hops = [part for part in forwarded.split(",") if part.strip()]
    address = peer
    while address is not None and hops and is_within(address, settings.TRUSTED_PROXIES):
        claimed = parse_address(hops.pop())
        # What a trusted proxy wrote but cannot be read ends the walk at that proxy.
        if claimed is None:
            break
        address = claimed
    return str(address) if address is not None else None


def is_client_within(request: HttpRequest, networks: list[Network]) -> bool:
    """Tell whether the client's address is in one of the networks; not, when it has none."""
    address = parse_address(client_ip(request) or "")
    return address is not None and is_within(address, networks)


def is_within(address: Address, networks: list[Network]) -> bool:
    return any(address in network for network in networks)


def parse_address(text: str) -> Address | None:
    """Read `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` and `[::1]:80`; None when it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
