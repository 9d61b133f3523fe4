"""The session that hvac makes its calls with; a module of its own, for loading it takes long."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from secrets_rotation.delivery.destinations.calls import Calls, as_urllib3


class Outgoing(HTTPAdapter):
    """Sends what `requests` prepared through the one way out."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        answer = self._calls.send(
            request.method or "GET", request.url or "", request.headers, request.body
        )
        return self.build_response(request, as_urllib3(answer))


def session(calls: Calls) -> requests.Session:
    made = requests.Session()
    # No proxies and no passwords of the environment.
    made.trust_env = False
    for scheme in ("https://", "http://"):
        made.mount(scheme, Outgoing(calls))
    return made
