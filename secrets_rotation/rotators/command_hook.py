"""Any other target, by a program of the operator's.

It is called with the configured arguments and then one verb: `set`, `verify`, `revoke`, `discard`,
or `in_use` (only where `reports_use` is on). On its standard input it gets one JSON object:

```
{"verb": "set", "credentials": {...},
 "secret": {"username": "", "value": "...", "version": 7}, "current": {...} or null}
```

`secret` is what the verb is about: the new credential for `set` and `discard`, the old one for
`revoke` and `in_use`, the one to try for `verify`. `current` is the one that has to stay valid.

It ends with 0 for yes or done, with 10 when the target itself said no to the credential
(`verify`), and with 11 when the target's rules refuse the value and nothing was changed (`set`). Every
other status leaves open what happened, as does a deadline. 1 and 2 are among those on purpose:
a script that breaks ends with them, and a broken `verify` must never pass for a refusal.

Each verb may be called again after a crash and must then end in the same state. `set` leaves the
current credential valid. Nothing that the program prints is read, but for `in_use`, which prints
a JSON list of {"session": "...", "who": "...", "since": "2026-01-31T10:00:00Z" or null}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit.capture.redaction import redact_text
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators import hook_process
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator, Usage
from secrets_rotation.rotators.hook_process import Ended, HookFailedError, HookRefusedError
from secrets_rotation.rotators.http_api import USERNAME

YES = 0
REFUSED = 10
RULE_REFUSED = 11

LONGEST_SECONDS = 50
MOST_OUTPUT = 64_000
MOST_SESSIONS = 1_000
LONGEST_TEXT = 200


class CommandHook(Rotator):
    name = "command_hook"
    title = "Command hook"
    summary = "A program of yours that sets, verifies and revokes; it lies in ROTATION_HOOK_FOLDER."
    settings = (
        Setting(
            "command",
            "The program's absolute path and its arguments, as a list; no secrets, everybody sees them.",
            kind=list,
            required=True,
        ),
        Setting("timeout_seconds", "How long one call may take.", kind=int, default=20),
        Setting("reports_use", "Whether it knows the verb in_use.", kind=bool, default=False),
        USERNAME,
        Setting("credentials", "What it needs beside the value.", kind=dict, secret=True),
    )
    address = ("command",)

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        if not 1 <= target["timeout_seconds"] <= LONGEST_SECONDS:
            found["timeout_seconds"] = f"From 1 to {LONGEST_SECONDS}."
        command = target["command"]
        if not command or not all(isinstance(word, str) and "\0" not in word for word in command):
            return found | {"command": "A list of texts, the first one a path."}
        try:
            hook_process.program(command[0])
        except HookRefusedError as refusal:
            found["command"] = str(refusal)
        return found

    def principal(self) -> str:
        words = " ".join(self.target["command"])
        return f"{self.name} {words} {self.target['username']}"[:500]

    def next_username(self, current: str) -> str:
        return str(self.target["username"] or current)

    def probe(self, credential: Credential) -> Answer:
        try:
            status = self._run("verify", credential, None, self.target["timeout_seconds"]).status
        except TargetUnknownError:
            return Answer.UNKNOWN
        return {YES: Answer.WORKS, REFUSED: Answer.REFUSED}.get(status, Answer.UNKNOWN)

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        status = self._change("set", pending, current, guard)
        if status == RULE_REFUSED:
            raise ValueRefusedError("the hook says that the target's rules refuse it")
        if status != YES:
            raise TargetUnknownError(f"the hook ended with {status}")

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        self._end("discard", pending, current, guard)

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        self._end("revoke", old, current, guard)

    def in_use(self, old: Credential) -> list[Usage]:
        if not self.target["reports_use"]:
            return []
        ended = self._run("in_use", old, None, self.target["timeout_seconds"])
        if ended.status != YES:
            raise TargetUnknownError(f"the hook ended with {ended.status}")
        return usages(ended.output)

    def _end(self, verb: str, ended: Credential, current: Credential | None, guard: Guard) -> None:
        status = self._change(verb, ended, current, guard)
        if status != YES:
            raise TargetUnknownError(f"the hook ended with {status}")

    def _change(
        self, verb: str, secret: Credential, current: Credential | None, guard: Guard
    ) -> int:
        guard.confirm()
        # Killed a moment before the lease ends: what follows it must not overlap.
        seconds = min(self.target["timeout_seconds"], guard.seconds_left() - 1)
        if seconds <= 0:
            raise TargetUnknownError("the lease was about to end")
        return self._run(verb, secret, current, seconds).status

    def _run(
        self, verb: str, secret: Credential, current: Credential | None, seconds: float
    ) -> Ended:
        given = {
            "verb": verb,
            "secret": _as_json(secret),
            "current": _as_json(current),
            "credentials": _revealed(self.target.get("credentials") or {}),
        }
        path, *arguments = self.target["command"]
        most = MOST_OUTPUT if verb == "in_use" else 0
        try:
            argv = [str(hook_process.program(path)), *arguments, verb]
            return hook_process.run(
                argv, json.dumps(given).encode(), seconds=seconds, most_output=most
            )
        except (HookRefusedError, HookFailedError) as failure:
            raise TargetUnknownError(str(failure).rstrip(".")) from None


def usages(output: bytes) -> list[Usage]:
    """Read what `in_use` printed; raise `TargetUnknownError`, which says nothing of it."""
    try:
        sessions = json.loads(output)
        return [
            Usage(
                session=redact_text(str(each["session"]))[:LONGEST_TEXT],
                who=redact_text(str(each["who"]))[:LONGEST_TEXT],
                since=_moment(each["since"]) if each.get("since") else None,
            )
            for each in sessions[:MOST_SESSIONS]
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise TargetUnknownError("the hook did not print a list of sessions") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its offset")
    return moment


def _as_json(credential: Credential | None) -> dict[str, Any] | None:
    if credential is None:
        return None
    return {
        "username": credential.username,
        "value": credential.value.reveal(),
        "version": credential.version_id,
    }


def _revealed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _revealed(inner) for name, inner in value.items()}
    return value.reveal() if isinstance(value, SecretText) else value
