"""The way out for the official clients of boto3, hvac and kubernetes.

They make and sign the requests and read the answers; what lies between goes through
`foundation.outgoing`, each by the place that its client has for it. So every call is checked
against the networks that may be reached, follows no redirect, and shares one deadline.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3

from compliance_site.foundation import outgoing
from compliance_site.foundation.outgoing import Answer, OutgoingError
from secrets_rotation.delivery.destinations.base import DEADLINE
from secrets_rotation.exceptions import DeliveryError


@dataclass(frozen=True)
class Calls:
    """The calls of one delivery: together they take `DEADLINE` seconds at most."""

    # PEM of the authorities to trust, "" for the usual ones.
    ca: str = ""
    _deadline: float = field(default_factory=lambda: time.monotonic() + DEADLINE)

    def send(
        self, method: str, url: str, headers: Mapping[str, Any], content: Any = None
    ) -> Answer:
        """Make a call; raise `DeliveryError` when it is not made, not answered, or sent elsewhere."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeliveryError(f"It took longer than {DEADLINE:g} seconds.")
        try:
            answer = outgoing.send(
                method,
                url,
                headers=_plain(headers),
                content=content.encode() if isinstance(content, str) else content,
                timeout=left,
                ca=self.ca,
            )
        except OutgoingError as refusal:
            # Names host and port at most.
            raise DeliveryError(str(refusal)) from None
        if 300 <= answer.status < 400:
            # The clients would take it for success, or send value and token elsewhere.
            raise DeliveryError(f"It answered {answer.status}, a redirect, which is not followed.")
        return answer


def url_problem(url: str) -> str:
    """Return what is wrong with a URL, without looking anything up; "" when nothing is."""
    try:
        outgoing.place_of(url)
    except OutgoingError as refusal:
        return str(refusal)
    return ""


def as_urllib3(answer: Answer) -> urllib3.HTTPResponse:
    """Return the answer in the shape that all three clients read."""
    return urllib3.HTTPResponse(
        io.BytesIO(answer.body),
        headers=dict(answer.headers),
        status=answer.status,
        preload_content=False,
    )


def _plain(headers: Mapping[str, Any]) -> dict[str, str]:
    """Leave out what is set on the way out; botocore has some values as bytes."""
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in headers.items()
        if name.lower() not in outgoing.OWN_HEADERS
    }
