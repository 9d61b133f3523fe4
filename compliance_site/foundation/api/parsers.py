"""Read JSON bodies with a bound on their size and depth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

LARGEST_BODY = 10 * 1024 * 1024


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = f"The body is larger than {LARGEST_BODY} bytes."


class BoundedJSONParser(BaseParser):
    """Refuse with 400 what is not strict JSON (RFC 8259), with 413 what is too large."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge
        try:
            return json.loads(body, parse_constant=_refuse_constant)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except ValueError as exc:
            raise ParseError(f"This is not JSON: {exc}") from exc


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number.")
