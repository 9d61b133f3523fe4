"""API keys and OAuth client secrets, by HTTP calls that the settings describe.

The console makes the value and sends it, so that it is stored before the API is called: a crash
at any point leaves a value that can be tried. An API that makes the value itself is **not**
supported. Its answer would be the only copy of a key that works already; a crash between that
answer and our commit would leave a valid key that nobody knows. For such an API use the rotator
`supplied`, or a command hook that asks for the key under a name and can ask again by it.

The API has to keep the old value valid beside the new one until `revoke` is called, and a
second `create` with the same value must not harm (`{version}` is the same each time and can
be the key's name or its idempotency key). It may answer 409 then: the run tries the value and goes on.

What its answers mean: `create` took the value with 2xx, and refused it by a rule of its own with
400 or 422. `verify` opened it with 2xx, and says no with 401 or 403 (or what `refused` lists).
`revoke` and `discard` are done with 2xx, 404 and 410. Anything else, a redirect and silence
among them, leaves open what happened, and the run looks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compliance_site.foundation.outgoing import OutgoingError
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators import http_call
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator

SECONDS = 10.0
RULE_REFUSALS = frozenset({400, 422})
REFUSALS = (401, 403)
GONE = frozenset({404, 410})

# The values that each call may name beside the credentials.
OWN = frozenset({"value", "username", "version"})
KNOWN = {
    "create": OWN | {"previous"},
    "verify": OWN,
    "revoke": OWN | {"current"},
    "discard": OWN | {"previous"},
}
CREDENTIALS = Setting(
    "credentials",
    'What calls need beside the value, by name: {"admin_token": "..."} is {admin_token} in a call.',
    kind=dict,
    secret=True,
)
USERNAME = Setting("username", "The client id or account, {username} in calls.", default="")
REFUSED = Setting(
    "refused", "Statuses by which `verify` says no.", kind=list, default=list(REFUSALS)
)


class HttpApi(Rotator):
    name = "http_api"
    title = "HTTP API"
    summary = "API keys and OAuth client secrets, by HTTP calls that you describe."
    settings = (
        Setting("create", "The call that makes {value} valid.", kind=dict, required=True),
        Setting("verify", "A call that {value} opens.", kind=dict, required=True),
        Setting("revoke", "The call that ends {value}; {current} stays.", kind=dict, required=True),
        Setting("discard", "The call that takes {value} back. Default: revoke.", kind=dict),
        REFUSED,
        USERNAME,
        CREDENTIALS,
    )
    address = tuple(KNOWN)

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        credentials = target.get("credentials") or {}
        found = {
            name: http_call.problem_of(target[name], known | set(credentials))
            for name, known in KNOWN.items()
            if target.get(name) is not None
        }
        found["credentials"] = http_call.credentials_problem(
            credentials, OWN | {"previous", "current"}
        )
        found["refused"] = refused_problem(target)
        return {name: problem for name, problem in found.items() if problem}

    def principal(self) -> str:
        url = self.target["create"]["url"].partition("?")[0]
        return f"{self.name} {url} {self.target['username']}"[:500]

    def next_username(self, current: str) -> str:
        return str(self.target["username"] or current)

    def probe(self, credential: Credential) -> Answer:
        return verified(self.target, credential)

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        status = self._change("create", pending, {"previous": value_of(current)}, guard)
        if status in RULE_REFUSALS:
            raise ValueRefusedError(f"the API answered {status}")
        if not is_success(status):
            raise TargetUnknownError(f"the API answered {status}")

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        call = "discard" if self.target.get("discard") else "revoke"
        other = value_of(current)
        self._end(call, pending, {"previous": other, "current": other}, guard)

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        self._end("revoke", old, {"current": current.value}, guard)

    def _end(self, call: str, ended: Credential, other: http_call.Values, guard: Guard) -> None:
        status = self._change(call, ended, other, guard)
        is_done = is_success(status) or status in GONE
        # An API may call what it does not know a mistake.
        if not is_done and self.probe(ended) is not Answer.REFUSED:
            raise TargetUnknownError(f"the API answered {status}")

    def _change(
        self, call: str, credential: Credential, other: http_call.Values, guard: Guard
    ) -> int:
        guard.confirm()
        seconds = min(SECONDS, guard.seconds_left())
        values = {**values_of(self.target, credential), **other}
        try:
            return http_call.send(self.target[call], values, seconds)
        except OutgoingError as failure:
            raise TargetUnknownError(str(failure).rstrip(".")) from None


def verified(target: Mapping[str, Any], credential: Credential) -> Answer:
    """Make the settings' `verify` call with a credential and say what its answer means."""
    try:
        status = http_call.send(target["verify"], values_of(target, credential), SECONDS)
    except OutgoingError:
        return Answer.UNKNOWN
    if is_success(status):
        return Answer.WORKS
    return Answer.REFUSED if status in target["refused"] else Answer.UNKNOWN


def values_of(target: Mapping[str, Any], credential: Credential) -> dict[str, SecretText | str]:
    """Return what a call about this credential may name."""
    return {
        **(target.get("credentials") or {}),
        "value": credential.value,
        "username": credential.username,
        "version": str(credential.version_id),
    }


def value_of(credential: Credential | None) -> SecretText:
    return credential.value if credential else SecretText("")


def refused_problem(target: Mapping[str, Any]) -> str:
    """Return what is wrong with `refused`: only an answer about the caller is a no."""
    statuses = target.get("refused") or []
    is_right = bool(statuses) and all(
        type(status) is int and 400 <= status < 500 and status != 429 for status in statuses
    )
    return "" if is_right else "A list of statuses from 400 to 499, without 429."


def is_success(status: int) -> bool:
    return 200 <= status < 300
