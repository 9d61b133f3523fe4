"""Small signed files beside a backup, for what must outlive the console's database.

`<id>.verified.json` says that it was restored, `<id>.pin.json` that it must stay.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature

from compliance_site.foundation import master_key
from compliance_site.foundation.master_key import EnvelopeError
from recovery.backups.manifest import signing_key
from recovery.exceptions import DamagedError, SealError

LONGEST = 64_000
RESERVED = ("id", "database", "fact", "signer", "signature")


def signed(database: str, backup_id: str, name: str, body: Mapping[str, Any]) -> bytes:
    """Return the file of one fact about a backup; raise `SealError` without a master key."""
    try:
        key = master_key.ring().current
    except EnvelopeError as exc:
        raise SealError(f"What is known of the backup cannot be signed: {exc}") from None
    whole = {name: value for name, value in body.items() if name not in RESERVED}
    whole |= {"database": database, "id": backup_id, "fact": name, "signer": key.id}
    signature = signing_key(key).sign(_canonical(whole))
    whole["signature"] = base64.b64encode(signature).decode()
    return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def parse(database: str, backup_id: str, name: str, content: bytes) -> dict[str, Any]:
    """Return what a file says of this backup; raise `DamagedError` when it was not signed for it."""
    try:
        body = json.loads(content)
        signature = base64.b64decode(body.pop("signature"), validate=True)
        key = master_key.find(str(body["signer"]))
        signing_key(key).public_key().verify(signature, _canonical(body))
    except EnvelopeError as exc:
        raise SealError(f"The signature cannot be checked: {exc}") from None
    except InvalidSignature:
        raise DamagedError("It was changed: its signature does not fit.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise DamagedError("It is no signed JSON object.") from None
    if (body.get("database"), body.get("id"), body.get("fact")) != (database, backup_id, name):
        raise DamagedError("It was signed for another backup.")
    return dict(body)


def _canonical(body: Mapping[str, Any]) -> bytes:
    # Apart from manifests, which the same key signs: those have no such beginning.
    return b"fact\n" + json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
