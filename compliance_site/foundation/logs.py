"""Structured logs: one JSON object a line, with the request's id and actor.

They go to standard output and, when `LOG_DIR` is set, to `<LOG_DIR>/<process>.log` too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# Set by whoever opens a unit of work (a request, a task, a command); asked for each record,
# since the actor of a request is only known once its view authenticated.
log_context: ContextVar[Callable[[], dict[str, str]]] = ContextVar("log_context", default=dict)


class ContextFilter(logging.Filter):
    """Put the current request's id and actor on each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        for key, value in log_context.get()().items():
            setattr(record, key, value)
        return True


def logging_config(
    *, level: str, directory: Path | None, process: str, formatter: str
) -> dict[str, Any]:
    """Return Django's `LOGGING`; `formatter` is the dotted path of a JSON formatter's class."""
    handlers: dict[str, Any] = {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json",
            "filters": ["context"],
        }
    }
    if directory is not None:
        handlers["file"] = {
            # Watched, so that logrotate may move the file away.
            "class": "logging.handlers.WatchedFileHandler",
            "filename": directory / f"{process}.log",
            "formatter": "json",
            "filters": ["context"],
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": "compliance_site.foundation.logs.ContextFilter"}},
        "formatters": {
            "json": {
                "()": formatter,
                "fmt": "{asctime}{levelname}{name}{message}",
                "style": "{",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            }
        },
        "handlers": handlers,
        "root": {"handlers": list(handlers), "level": level},
        "loggers": {"django": {"handlers": [], "level": level, "propagate": True}},
    }
