"""A deadline for a socket that holds whatever the server at its other end does.

A server that is frozen rather than gone accepts bytes and never answers: no timeout of its own
or of a driver ends that wait for certain. Shutting the socket down under the driver does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def deadline(descriptor: int, seconds: float) -> Iterator[None]:
    """Shut the socket down once `seconds` are over and the block has not ended."""
    # A twin of our own: the driver may close its descriptor, and somebody else get the number.
    twin = socket.socket(fileno=os.dup(descriptor))
    timer = threading.Timer(seconds, _shut_down, [twin])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        twin.close()


def _shut_down(twin: socket.socket) -> None:
    with contextlib.suppress(OSError):
        twin.shutdown(socket.SHUT_RDWR)
