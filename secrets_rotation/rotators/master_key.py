"""The console's own master key, in the file that `COMPLIANCE_MASTER_KEY_FILE` names.

The value of a version is the key's id, never the key: that would be sealed under the key
before it, and whoever has that one would have them all. The key itself is made in the file,
where it waits behind the current one, and never leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import Error

from compliance_site.foundation import envelope, master_key, rewrap, ring_file
from compliance_site.foundation.master_key import EnvelopeError
from compliance_site.foundation.ring_file import NoRingFileError
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.policies.generation import GenerationRules
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator, Usage

PROBE = "console_master_key probe"


class MasterKeyRotator(Rotator):
    """Promotes a waiting key; ends the old one by re-wrapping every sealed row.

    The old key stays in the ring behind the new one, since backups still need it; an operator
    removes it with `manage.py master_key retire`.
    """

    name = "console_master_key"
    title = "The console's master key"
    summary = "The key under which this console seals secret values, in COMPLIANCE_MASTER_KEY_FILE."

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        try:
            ring_file.path()
        except NoRingFileError:
            return {"rotator": "COMPLIANCE_MASTER_KEY_FILE is not set; only a file is rotated."}
        except EnvelopeError as exc:
            return {"rotator": str(exc)}
        return {}

    def principal(self) -> str:
        return "the console's master key"

    def generate(self, rules: GenerationRules) -> SecretText:
        """Return the id of the key that waits in the file, made when none does."""
        with _unknown_when_it_fails():
            return SecretText(ring_file.waiting_key().id)

    def probe(self, credential: Credential) -> Answer:
        """Ask whether anything is sealed under the key, or may be from now on."""
        key_id = credential.value.reveal()
        try:
            if master_key.ring().current.id == key_id:
                sealed = envelope.seal(PROBE.encode(), context=PROBE)
                envelope.unseal(sealed, context=PROBE)
                return Answer.WORKS
            return Answer.WORKS if rewrap.rows_under(key_id) else Answer.REFUSED
        except (EnvelopeError, Error):
            return Answer.UNKNOWN

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        key_id = pending.value.reveal()
        guard.confirm()
        with _unknown_when_it_fails():
            if master_key.ring().find(key_id) is None:
                raise ValueRefusedError("The file of the master keys has no key of this id.")
            ring_file.promote(key_id)
        if current is None:
            # No version stands for the key before, so nothing will end that one later.
            _put_all_under(pending, guard)

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Put the key before first again. A key under which rows were sealed stays in the ring."""
        key_id = pending.value.reveal()
        guard.confirm()
        with _unknown_when_it_fails():
            ring_file.withdraw_waiting(key_id)
            ring = master_key.ring()
            if ring.current.id == key_id:
                if current is None and len(ring.keys) == 1:
                    raise TargetUnknownError("There is no other master key to go back to.")
                ring_file.promote(current.value.reveal() if current else ring.keys[1].id)
        if rewrap.rows_under(key_id):
            _rewrap(guard)

    def in_use(self, old: Credential) -> list[Usage]:
        try:
            rows = rewrap.rows_under(old.value.reveal())
        except Error as exc:
            raise TargetUnknownError(type(exc).__name__) from None
        return [Usage(table, f"{count} rows", None) for table, count in rows.items()]

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        _put_all_under(current, guard)


def _put_all_under(credential: Credential, guard: Guard) -> None:
    with _unknown_when_it_fails():
        if master_key.ring().current.id != credential.value.reveal():
            raise TargetUnknownError("Another key is first in the file of the master keys.")
    _rewrap(guard)


def _rewrap(guard: Guard) -> None:
    guard.confirm()
    with _unknown_when_it_fails(), rewrap.at_work():
        done = rewrap.rewrap_all(lambda rows: guard.confirm())
    if done.left:
        raise TargetUnknownError(
            f"{done.left} rows are not re-wrapped yet; {len(done.damaged)} of them do not open."
        )


@contextmanager
def _unknown_when_it_fails() -> Iterator[None]:
    """Raise `TargetUnknownError` for what leaves open how far it came; no error holds a key."""
    try:
        yield
    except (EnvelopeError, rewrap.AtWorkError) as exc:
        raise TargetUnknownError(str(exc)) from None
    except Error as exc:
        raise TargetUnknownError(type(exc).__name__) from None
