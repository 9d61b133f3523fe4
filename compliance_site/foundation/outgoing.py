"""The only way out to an address that a user supplied: `send()`, or `check_host()` first.

The host is resolved once, every address it has is checked, and the connection goes to those
addresses and no other, whatever a second look-up would say. Redirects are answers, proxies
of the environment are not used, and the deadline holds for all of it, however slowly bytes drip.
"""

from __future__ import annotations

import contextlib
import json as json_text
import logging
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpcore
import httpx
from django.conf import settings

from compliance_site.foundation import reachable
from compliance_site.foundation.pinned import PinnedBackend
from compliance_site.foundation.reachable import Address, UnreachableError

PORTS = {"https": 443, "http": 80}
LONGEST_URL = 2_000
# Set here and nowhere else.
OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}

# At DEBUG it would log the headers of answers.
logging.getLogger("httpcore").setLevel(logging.INFO)


class OutgoingError(Exception):
    """The call was not made, or not answered as it has to be.

    The message is a sentence that names host and port at most: the rest of a URL, headers and
    bodies may hold secrets.
    """


@dataclass(frozen=True)
class Answer:
    """What came back, whatever its status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Place:
    """A URL taken apart: where it leads, before anything was looked up."""

    scheme: str
    host: str
    port: int
    target: str  # path and query

    @property
    def name(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def place_of(url: str) -> Place:
    """Take a URL apart without looking anything up; raise `OutgoingError`."""
    if len(url) > LONGEST_URL or "\\" in url or any(sign <= " " or sign == "\x7f" for sign in url):
        raise OutgoingError("This is no URL.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise OutgoingError("This is no URL.") from None
    if parts.scheme not in PORTS or not host or port == 0:
        raise OutgoingError("The URL has to begin with https:// and a host.")
    if "@" in parts.netloc:
        raise OutgoingError("The URL must not hold a user name or password.")
    query = f"?{parts.query}" if parts.query else ""
    target = quote((parts.path or "/") + query, safe="!#$%&'()*+,/:;=?@[]~")
    with _as_outgoing_error():
        return Place(parts.scheme, reachable.host_name(host), port or PORTS[parts.scheme], target)


def check_url(url: str, *, timeout: float = 5) -> None:
    """Look up the URL's host and raise `OutgoingError` unless `send` would call it."""
    place = place_of(url)
    with _as_outgoing_error():
        _addresses(place, timeout)


def check_host(host: str, port: int, *, timeout: float = 5) -> tuple[str, ...]:
    """Return the addresses of a target that does not speak HTTP, such as a database.

    Private networks and this machine are allowed, for databases are there. Connect to one of
    the addresses, not to the name: it may lead elsewhere the next time. Raise `OutgoingError`.
    """
    with _as_outgoing_error():
        name = reachable.host_name(host)
        addresses = reachable.resolved(name, port, timeout)
        reachable.refuse_never_allowed(name, addresses)
    return tuple(str(address) for address in addresses)


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: object = None,
    content: bytes | None = None,
    timeout: float = 10,
    max_bytes: int = 1_000_000,
    ca: str = "",
) -> Answer:
    """Make one HTTP call and return its answer, of whatever status.

    The whole call takes `timeout` seconds at most; an answer longer than `max_bytes` is an
    error. Whether an error came before or after the other side did its work is unknown.
    Plain http is for OUTGOING_ALLOWED_NETWORKS only. `ca` is the PEM of the authorities that the
    other side's certificate may come from, instead of the usual ones. Raise `OutgoingError`.
    """
    deadline = time.monotonic() + timeout
    place = place_of(url)
    if json is not None:
        content = json_text.dumps(json).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
    with _as_outgoing_error():
        addresses = _addresses(place, timeout)
    prepared = _headers(place, headers or {}, content)
    with _failures_named(place, timeout), _connection(place, addresses, deadline, ca) as pool:
        at = httpcore.URL(
            scheme=place.scheme, host=place.host, port=place.port, target=place.target
        )
        with pool.stream(method, at, headers=prepared, content=content) as response:
            body = _bounded(place, response.iter_stream(), max_bytes)
    received = {name.decode().lower(): value.decode("latin-1") for name, value in response.headers}
    return Answer(response.status, received, body)


def _addresses(place: Place, seconds: float) -> tuple[Address, ...]:
    """Resolve and check; raise `UnreachableError`."""
    addresses = reachable.resolved(place.host, place.port, seconds)
    allowed = settings.OUTGOING_ALLOWED_NETWORKS
    reachable.refuse_never_allowed(place.host, addresses)
    reachable.refuse_private(place.host, addresses, allowed)
    if place.scheme == "http" and not all(reachable.is_in(each, allowed) for each in addresses):
        raise UnreachableError(
            f"{place.host} has to be called by https; plain http is for OUTGOING_ALLOWED_NETWORKS."
        )
    return addresses


def _headers(
    place: Place, headers: Mapping[str, str], content: bytes | None
) -> list[tuple[bytes, bytes]]:
    if taken := OWN_HEADERS & {name.lower() for name in headers}:
        raise OutgoingError(f"The header {min(taken)} cannot be set.")
    ours = {"Host": place.name, "Connection": "close", "Accept-Encoding": "identity"}
    if content is not None:
        ours["Content-Length"] = str(len(content))
    named = {"User-Agent": "compliance-console", **headers, **ours}
    try:
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in named.items()]
    except UnicodeEncodeError:
        raise OutgoingError("A header holds a sign that is not ASCII.") from None


@contextlib.contextmanager
def _connection(
    place: Place, addresses: tuple[Address, ...], deadline: float, ca: str
) -> Iterator[httpcore.ConnectionPool]:
    context = _tls_context(ca) if place.scheme == "https" else None
    backend = PinnedBackend(addresses, deadline)
    with httpcore.ConnectionPool(ssl_context=context, network_backend=backend) as pool:
        yield pool


def _tls_context(ca: str) -> ssl.SSLContext:
    if not ca:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise OutgoingError("The certificate authority is no certificate in PEM.") from None


def _bounded(place: Place, parts: Iterable[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > max_bytes:
            raise OutgoingError(f"The answer of {place.name} is longer than {max_bytes} bytes.")
    return bytes(body)


@contextlib.contextmanager
def _as_outgoing_error() -> Iterator[None]:
    try:
        yield
    except UnreachableError as refusal:
        raise OutgoingError(str(refusal)) from None


@contextlib.contextmanager
def _failures_named(place: Place, timeout: float) -> Iterator[None]:
    """Turn the library's errors into ours; their texts may hold what was sent."""
    try:
        yield
    except httpcore.TimeoutException:
        raise OutgoingError(f"{place.name} did not answer within {timeout:g} seconds.") from None
    except httpcore.ConnectError as exc:
        raise OutgoingError(_connect_failure(place, exc)) from None
    except httpcore.NetworkError:
        raise OutgoingError(f"The connection to {place.name} broke off.") from None
    except httpcore.LocalProtocolError:
        raise OutgoingError("The method or a header holds a sign it must not.") from None
    except httpcore.ProtocolError:
        raise OutgoingError(f"{place.name} did not answer in HTTP.") from None


def _connect_failure(place: Place, failure: httpcore.ConnectError) -> str:
    # The library puts what happened into the error's arguments.
    cause = failure.args[0] if failure.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"The certificate of {place.name} is not valid: {cause.verify_message}."
    if isinstance(cause, ssl.SSLError):
        return f"{place.name} did not agree on TLS."
    return f"{place.name} could not be connected to."
