"""Loopback ports for the embedded services."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections (32768 on Linux,
# 49152 on macOS): such a connection must not sit on a service's port when it starts.
RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Say whether a service could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections that are only lingering do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose(*, without: frozenset[int] = frozenset()) -> int:
    """Choose a free port at random, so that checkouts seldom want the same one."""
    candidates = (port for port in random.sample(RANGE, len(RANGE)) if port not in without)
    return next(port for port in candidates if is_free(port))
