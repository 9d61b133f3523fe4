"""A user of Valkey or Redis: it may have two passwords at once, and keeps none by itself.

Passwords are added and removed by their SHA-256; in clear they leave only at a login. A change
and the writing of it to disk are one transaction of the server: whoever is killed in between
leaves neither.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators import clock
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator, Usage

CALL_SECONDS = 2.0
END_SECONDS = 8.0
# Those of redis-py, and its parser's for bytes that are not Redis'.
ERRORS = (redis.RedisError, OSError, ValueError)


class ValkeyAcl(Rotator):
    name = "valkey_acl"
    title = "Valkey or Redis user"
    summary = "Adds a password to a user of the ACL; the old one is removed when its grace ends."
    settings = (
        Setting("host", "Name or address of the server.", required=True),
        Setting("port", "Its port.", int, 6379),
        Setting("tls", "Whether it speaks TLS.", bool, default=False),
        Setting("caFile", "File with the authorities to trust, if not the system's."),
        Setting("adminUser", "The user that changes the ACL.", default="default"),
        Setting("adminPassword", "Its password.", required=True, secret=True),
        Setting("username", "The user that is rotated.", required=True),
        Setting(
            "endAllSessions",
            "Whether the end of a grace ends all of the user's sessions: the server does not "
            "tell which of those begun during the grace used the old password.",
            bool,
            default=False,
        ),
    )
    address = ("host", "port", "tls", "caFile")

    def __init__(self, target: Mapping[str, Any]) -> None:
        super().__init__(target)
        self._username: str = target["username"]

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        problems = {}
        if not 1 <= target["port"] <= 65535:
            problems["port"] = "Give a port from 1 to 65535."
        if any(sign.isspace() or sign == "\0" for sign in target["username"]):
            problems["username"] = "Names of users hold no spaces."
        elif target["username"] == target["adminUser"]:
            problems["username"] = "The administrator cannot be rotated by its own session."
        return problems

    def principal(self) -> str:
        return f"valkey://{self.target['host'].lower()}:{self.target['port']}/{self._username}"

    def next_username(self, current: str) -> str:
        return self._username

    def probe(self, credential: Credential) -> Answer:
        """Log in; raise `TargetUnknownError` for a user that needs no password.

        Also when the administrator, who looks at that, is not let in.
        """
        try:
            with self._client() as client:
                _call(client, "AUTH", self._username, credential.value.reveal())
        except redis.AuthenticationError as exc:
            # The class is also that of an answer which says nothing of the password.
            is_refusal = "username-password pair" in str(exc)
            return Answer.REFUSED if is_refusal else Answer.UNKNOWN
        except ERRORS:
            return Answer.UNKNOWN
        with self._administering() as admin:
            self._hashes(admin)
        return Answer.WORKS

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        with self._administering(guard) as admin:
            had = self._hashes(admin)
            added = _hash(pending.value)
            try:
                self._apply(admin, f"#{added}", guard)
            except redis.ResponseError:
                # The disk is full, say: it must not look as if it were set.
                if added not in had:
                    _call(admin, "ACL", "SETUSER", self._username, f"!{added}")
                raise

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        with self._administering(guard) as admin:
            self._remove(admin, pending, current, guard)

    def in_use(self, old: Credential) -> list[Usage]:
        """Return the sessions that are older than the new password.

        Of those begun later nobody can tell which password they used.
        """
        with self._administering() as admin:
            return self._sessions(admin, _age(old))

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        with self._administering(guard) as admin:
            self._remove(admin, old, current, guard)
            _confirm(guard)
            if self.target["endAllSessions"]:
                _call(admin, "CLIENT", "KILL", "USER", self._username)
            self._end_sessions(admin, _age(old))

    def _remove(
        self, admin: redis.Redis, ending: Credential, staying: Credential | None, guard: Guard
    ) -> None:
        if staying is not None and staying.value == ending.value:
            raise TargetUnknownError("the password to end is the one to stay")
        hashes = self._hashes(admin)
        if staying is not None and _hash(staying.value) not in hashes:
            raise TargetUnknownError(
                f"{self._username} does not have the password that is to stay; nothing was changed"
            )
        if _hash(ending.value) in hashes:
            self._apply(admin, f"!{_hash(ending.value)}", guard)

    def _hashes(self, admin: redis.Redis) -> frozenset[str]:
        user: Any = admin.acl_getuser(self._username)
        if user is None:
            raise TargetUnknownError(f"there is no user {self._username}")
        if "nopass" in user["flags"]:
            raise TargetUnknownError(f"{self._username} may log in with any password (nopass)")
        return frozenset(user["passwords"])

    def _apply(self, admin: redis.Redis, rule: str, guard: Guard) -> None:
        write = _way_to_disk(admin)
        _confirm(guard)
        with admin.pipeline(transaction=True) as both:
            _call(both, "ACL", "SETUSER", self._username, rule)
            _call(both, *write)
            both.execute()

    def _sessions(self, admin: redis.Redis, age: float | None) -> list[Usage]:
        now = datetime.now(UTC)
        return [
            Usage(
                session["id"],
                f"{session.get('name') or 'unnamed'} from {session['addr']}",
                now - timedelta(seconds=int(session["age"])),
            )
            for session in admin.client_list()
            if session["user"] == self._username and (age is None or int(session["age"]) >= age)
        ]

    def _end_sessions(self, admin: redis.Redis, age: float | None) -> None:
        due = time.monotonic() + END_SECONDS
        while sessions := self._sessions(admin, age):
            if time.monotonic() > due:
                raise TargetUnknownError(f"{len(sessions)} sessions of {self._username} do not end")
            for each in sessions:
                _call(admin, "CLIENT", "KILL", "ID", each.session)

    @contextmanager
    def _administering(self, guard: Guard | None = None) -> Iterator[redis.Redis]:
        """Lend the administrator's connection; raise `TargetUnknownError` for what goes wrong."""
        if guard is not None:
            _confirm(guard)
        try:
            with self._client(
                username=self.target["adminUser"],
                password=self.target["adminPassword"].reveal(),
            ) as client:
                yield client
        except ERRORS as exc:
            raise TargetUnknownError(self._reason(exc)) from None

    def _client(self, **login: Any) -> redis.Redis:
        """Return a client that never sends anything twice; without a login for the probe."""
        tls: dict[str, Any] = {"ssl": True, "ssl_check_hostname": True}
        tls |= {"ssl_cert_reqs": "required", "ssl_ca_certs": self.target["caFile"]}
        return redis.Redis(
            host=self.target["host"],
            port=self.target["port"],
            socket_timeout=CALL_SECONDS,
            socket_connect_timeout=CALL_SECONDS,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
            decode_responses=True,
            protocol=2,
            # It would introduce itself before the login, and be refused.
            driver_info=None,
            **login,
            **tls if self.target["tls"] else {},
        )

    def _reason(self, exc: Exception) -> str:
        """Name an error without its text, which may hold the rule and with it the hash."""
        if isinstance(exc, redis.AuthenticationError):
            return f"the server refuses the credential of {self.target['adminUser']}"
        if isinstance(exc, NoPermissionError):
            return f"{self.target['adminUser']} may not do that (NOPERM)"
        if isinstance(exc, redis.ResponseError):
            return "the server refused a command (ACL or CONFIG)"
        return f"no answer from {self.target['host']}:{self.target['port']} ({type(exc).__name__})"


def _confirm(guard: Guard) -> None:
    guard.confirm()
    if guard.seconds_left() < 2 * CALL_SECONDS:
        raise TargetUnknownError("too little is left of the lease")


def _call(client: redis.Redis, *words: str) -> Any:
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def _hash(value: SecretText) -> str:
    return hashlib.sha256(value.reveal().encode()).hexdigest()


def _age(old: Credential) -> float | None:
    """Return how old its sessions are at least; None for those of any age."""
    if old.superseded_at is None:
        return None
    # The server counts whole seconds: better one session too many than one too few.
    return clock.seconds_since(old.superseded_at) - 1.0


def _way_to_disk(admin: redis.Redis) -> tuple[str, str]:
    """Return the command that keeps the ACL over a restart, having tried it.

    Raise `TargetUnknownError` when there is none, before anything is changed.
    """
    try:
        _call(admin, "ACL", "SAVE")
    except redis.ResponseError as exc:
        if "not configured to use an ACL file" not in str(exc):
            raise TargetUnknownError("the server cannot write its ACL file (ACL SAVE)") from None
    else:
        return "ACL", "SAVE"
    try:
        _call(admin, "CONFIG", "REWRITE")
    except redis.ResponseError:
        raise TargetUnknownError(
            "the server has neither an ACL file nor a writable configuration file: "
            "a restart would lose the password"
        ) from None
    return "CONFIG", "REWRITE"
