"""Which addresses the console may open a connection to when somebody else named the host."""

from __future__ import annotations

import queue
import re
import socket
import threading
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from compliance_site.foundation.env import Network

Address = IPv4Address | IPv6Address

# Doors to a cloud's own machinery that are not link-local.
METADATA = {
    ip_address("100.100.100.200"),  # Alibaba
    ip_address("168.63.129.16"),  # Azure
    ip_address("192.0.0.192"),  # Oracle
    ip_address("fd00:ec2::254"),  # AWS
    ip_address("fd20:ce::254"),  # Google
}
NEVER = (
    ip_network("0.0.0.0/8"),
    ip_network("fec0::/10"),
    # 6to4 and its relay, Teredo, local NAT64: behind them is another address than this one.
    ip_network("2002::/16"),
    ip_network("192.88.99.0/24"),
    ip_network("2001::/32"),
    ip_network("64:ff9b:1::/48"),
)
NAT64 = ip_network("64:ff9b::/96")

HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
# `0x7f.1`, `2130706433` and `0177.0.0.1` are addresses to a resolver.
NUMERIC_END = re.compile(r"(\A|\.)([0-9]+|0x[0-9a-f]*)\Z")
LONGEST_HOST = 253


class UnreachableError(Exception):
    """The host must not be called, or has no address; the message is a sentence with its name."""


def host_name(text: str) -> str:
    """Return a host as it is resolved and sent: in lower case and ASCII, without a final dot.

    Raise `UnreachableError` for what is no host, or an address in an odd spelling.
    """
    if ":" in text:
        return _ipv6(text)
    if len(text) > LONGEST_HOST:  # encoding takes the square of it
        raise UnreachableError("This is no host name.")
    try:
        host = text.removesuffix(".").encode("idna").decode().lower()
    except UnicodeError:
        raise UnreachableError("This is no host name.") from None
    if len(host) > LONGEST_HOST or not HOST.fullmatch(host):
        raise UnreachableError("This is no host name.")
    if NUMERIC_END.search(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise UnreachableError("Write an address as four decimal numbers.") from None
    return host


def resolved(host: str, port: int, seconds: float) -> tuple[Address, ...]:
    """Ask the resolver once; raise `UnreachableError` when it knows no address or takes too long."""
    # The resolver has no deadline; a thread can be left behind.
    answers: queue.SimpleQueue[tuple[Address, ...]] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_looked_up(host, port)), daemon=True).start()
    try:
        addresses = answers.get(timeout=seconds)
    except queue.Empty:
        raise UnreachableError(f"{host} could not be looked up in time.") from None
    if not addresses:
        raise UnreachableError(f"{host} has no address.")
    return addresses


def refuse_never_allowed(host: str, addresses: Iterable[Address]) -> None:
    """Raise `UnreachableError` when an address is one that nobody may be sent to.

    Those are link-local ones, metadata services, multicast, reserved and unspecified ones,
    and tunnels, whose inner address is another one.
    """
    for address in addresses:
        if _is_never_allowed(_inner(address)):
            raise UnreachableError(f"{host} leads to an address that must not be called.")


def refuse_private(host: str, addresses: Iterable[Address], allowed: Iterable[Network]) -> None:
    """Raise `UnreachableError` when an address is neither public nor in an allowed network."""
    for address in addresses:
        if not _inner(address).is_global and not is_in(address, allowed):
            raise UnreachableError(
                f"{host} leads to a private address that OUTGOING_ALLOWED_NETWORKS does not name."
            )


def is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(_inner(address) in network for network in networks)


def _is_never_allowed(address: Address) -> bool:
    return (
        address in METADATA
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        # Python counts loopback of IPv6 among the reserved ones.
        or (address.is_reserved and not address.is_loopback)
        or any(address in network for network in NEVER)
    )


def _inner(address: Address) -> Address:
    """Return the IPv4 address that a mapped or translated IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _ipv6(text: str) -> str:
    try:
        # A zone would name an interface of this machine.
        return str(IPv6Address("" if "%" in text else text))
    except ValueError:
        raise UnreachableError("This is no address.") from None


def _looked_up(host: str, port: int) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    # A link-local address comes with its zone.
    texts = [str(place[0]).partition("%")[0] for *_, place in found]
    return tuple(dict.fromkeys(ip_address(text) for text in texts))
