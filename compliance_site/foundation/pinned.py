"""Connections to checked addresses only, with one deadline for all that follows."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from compliance_site.foundation.reachable import Address

WRITE_BYTES = 4_096


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to these addresses, whatever a name would lead to by now."""

    def __init__(self, addresses: tuple[Address, ...], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers, whatever `host` is called."""
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            left = _seconds_left(self._deadline, httpcore.ConnectTimeout)
            try:
                stream = self._network.connect_tcp(
                    str(address), port, left, socket_options=socket_options or ()
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return DeadlineStream(stream, self._deadline)
        raise failure


class DeadlineStream(httpcore.NetworkStream):
    """A connection whose every wait ends at one deadline: a byte now and then prolongs nothing."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In parts that a socket takes whole, for the deadline is looked at before each.
        for start in range(0, len(buffer), WRITE_BYTES):
            left = _seconds_left(self._deadline, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + WRITE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _seconds_left(self._deadline, httpcore.ConnectTimeout)
        secured = self._stream.start_tls(ssl_context, server_hostname, left)
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds_left(deadline: float, failure: type[Exception]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise failure("deadline")
    return left
