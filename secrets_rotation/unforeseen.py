"""Errors that nobody foresaw, without what they say: it may be what a library was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation.exceptions import RotationError


class UnforeseenError(Exception):
    """Code that holds a value broke. The text is the error's class, the traceback says where."""


@contextmanager
def texts_withheld() -> Iterator[None]:
    """Let what nobody foresaw rise as `UnforeseenError`; put it around code that holds a value.

    Our own errors rise as they are. The text, notes and causes of any other are dropped, for
    all of them end in logs and error reports; the lines in which it happened are kept.
    """
    try:
        yield
    except (RotationError, EnvelopeError):
        raise
    # Whatever a driver or a client library may raise: the texts of all of them are meant.
    except Exception as exc:
        raise UnforeseenError(type(exc).__qualname__).with_traceback(exc.__traceback__) from None
