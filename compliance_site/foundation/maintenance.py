"""The moment in which the console's own database is replaced, as every process of it sees it.

The flag is a file that its maker holds locked: when that process ends in any way, the kernel
lets go of the lock and the flag means nothing any more.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from compliance_site.foundation.api.errors import unavailable
from compliance_site.foundation.embedded.locks import make_folder

FLAG = "maintenance"
# Probes say it themselves, and files need no database.
GOES_ON = ("/health", "/static/")
TEXT = "The console's database is being restored. Try again in a few seconds."

GetResponse = Callable[[HttpRequest], HttpResponseBase]
GetResponseAsync = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@contextmanager
def begin() -> Iterator[None]:
    """Be in maintenance until the block ends; raise `OSError` where no file can be made."""
    make_folder(settings.RECOVERY_FOLDER)
    flag = _flag()
    # Locked before it is there under its name: whoever sees it sees it locked.
    draft = flag.with_name(f".{FLAG}-{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.replace(draft, flag)
        yield
    finally:
        with suppress(FileNotFoundError):
            flag.unlink()
        os.close(descriptor)


def is_on() -> bool:
    """Tell whether a living process holds the console in maintenance; one look at a file if none."""
    try:
        descriptor = os.open(_flag(), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _flag() -> Path:
    folder: Path = settings.RECOVERY_FOLDER
    return folder / FLAG


@sync_and_async_middleware
def maintenance_middleware(
    get_response: GetResponse | GetResponseAsync,
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Answer 503 in maintenance, before anything asks the database."""
    if iscoroutinefunction(get_response):

        async def serve_async(request: HttpRequest) -> HttpResponseBase:
            if is_on() and not request.path_info.startswith(GOES_ON):
                return answer(request)
            return await get_response(request)  # type: ignore[no-any-return]

        return serve_async

    def serve(request: HttpRequest) -> HttpResponseBase:
        if is_on() and not request.path_info.startswith(GOES_ON):
            return answer(request)
        return get_response(request)  # type: ignore[return-value]

    return serve


def answer(request: HttpRequest) -> HttpResponse:
    """Say that it takes a moment, as a page or in the API's error shape."""
    return unavailable(request, "maintenance", TEXT, "503.html")
