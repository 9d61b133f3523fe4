"""The audit trail: who did what, recorded so that nobody can quietly change it.

`audit.record(...)` is the door for Python code. It is resolved on first use, so that
`audit.capture.asgi` can be imported where there is no Django.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.capture.recording import record as record

__all__ = ["record"]


def __getattr__(name: str) -> Any:
    if name == "record":
        from audit.capture.recording import record

        return record
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
