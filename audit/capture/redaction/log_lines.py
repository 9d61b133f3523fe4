"""Keep secrets out of the console's own log: of messages, tracebacks and everything beside."""

from __future__ import annotations

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from audit.capture.redaction import redact_json_text


class RedactingFormatter(JsonFormatter):
    """A line of JSON, redacted like any JSON; duller than the message, never more telling."""

    def jsonify_log_record(self, log_data: LogData) -> str:
        return redact_json_text(super().jsonify_log_record(log_data))
