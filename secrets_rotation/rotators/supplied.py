"""A value that a person brings: nothing is set here, only tried (if a call is given) and delivered.

The value works at its source before it comes here, and is ended there too. With `verify` the
console sees for itself that a new value works and, after the grace, that the old one does not;
until somebody ended that at its source, the run waits and then asks a person. Without
`verify` it takes their word: nothing is verified, and nobody knows when the old value ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators import http_call
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator
from secrets_rotation.rotators.http_api import (
    CREDENTIALS,
    OWN,
    REFUSED,
    USERNAME,
    refused_problem,
    verified,
)


class Supplied(Rotator):
    name = "supplied"
    title = "Supplied by a person"
    summary = "A value that somebody brings; verified by an HTTP call if you describe one."
    settings = (
        Setting("verify", "An HTTP call that {value} opens.", kind=dict),
        REFUSED,
        USERNAME,
        CREDENTIALS,
    )
    address = ("verify",)
    generates = False

    def __init__(self, target: Mapping[str, Any]) -> None:
        super().__init__(target)
        # Where it is False the run goes on unverified and says so.
        self.verifies = bool(target.get("verify"))

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        credentials = target.get("credentials") or {}
        call = target.get("verify") or {}
        found = {
            "verify": http_call.problem_of(call, OWN | set(credentials)) if call else "",
            "credentials": http_call.credentials_problem(credentials, OWN),
            "refused": refused_problem(target),
        }
        return {name: problem for name, problem in found.items() if problem}

    def principal(self) -> str:
        """Return one name for all of them: there is no target, and nothing is worked on for long."""
        return self.name

    def next_username(self, current: str) -> str:
        return str(self.target["username"] or current)

    def probe(self, credential: Credential) -> Answer:
        return verified(self.target, credential) if self.verifies else Answer.UNKNOWN

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Change nothing; a value that its source refuses goes back to whoever brought it."""
        if self.probe(pending) is Answer.REFUSED:
            raise ValueRefusedError("it does not open what it is for")

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Do nothing: the console forgets the value, and its source was never told of it."""

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        """Change nothing; say that somebody has to, for as long as the old value works."""
        if self.probe(old) is Answer.WORKS:
            raise TargetUnknownError("it still works; somebody has to end it at its source")
