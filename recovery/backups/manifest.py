"""What is known of a backup, signed: a backup without its manifest is none.

The manifest lies beside the sealed file, readable without any key, and is signed (Ed25519,
RFC 8032) over its canonical JSON by a key derived from the master key; `signer` is that key's
id. It is written last, so that a file which was cut off never counts.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from compliance_site.foundation import master_key
from compliance_site.foundation.master_key import EnvelopeError, MasterKey
from recovery.exceptions import DamagedError, SealError

FORMAT = 1
PURPOSE = b"backup manifests"
# A manifest is read before its signature is known to be good.
LONGEST = 64_000_000


@dataclass(frozen=True)
class TableFacts:
    """A table's rows in the dump's snapshot; `content` is a sum over its rows, in any order."""

    schema: str
    name: str
    rows: int
    content: str


@dataclass(frozen=True)
class DatabaseFacts:
    """What a restore has to give the database beside its contents."""

    server_version: int
    owner: str
    encoding: str
    # {"provider": "b", "locale": "C.UTF-8", "collate": "C", "ctype": "C", "version": "1"}
    locale: dict[str, str]
    # `ALTER DATABASE ... SET` and `ALTER ROLE ... IN DATABASE ... SET`: [role or "", "name=value"].
    # In a manifest, which anybody may read, only the names: values may be secret, and are sealed.
    settings: tuple[tuple[str, str], ...]
    # GRANT ... ON DATABASE, as PostgreSQL's aclitems spell them; () for the default.
    acl: tuple[str, ...]
    comment: str
    connection_limit: int
    # By name, with the version.
    extensions: dict[str, str]
    # Roles that own something or were granted something.
    roles: tuple[str, ...]
    size_bytes: int

    def without_values(self) -> DatabaseFacts:
        """Return the facts with the names of settings only."""
        names = tuple((role, setting.partition("=")[0]) for role, setting in self.settings)
        return replace(self, settings=names)


@dataclass(frozen=True)
class Manifest:
    """One backup. Times are UTC; `taken_at` is the snapshot's, all later changes are missing."""

    id: str
    database: str
    dbname: str
    kind: str
    taken_at: datetime
    finished_at: datetime
    # The sealed file's name in its store, its size and the SHA-256 of what is stored.
    file: str
    size: int
    sha256: str
    # The public age keys that open it.
    recipients: tuple[str, ...]
    # "pg_dump (PostgreSQL) 18.6"
    program: str
    facts: DatabaseFacts
    tables: tuple[TableFacts, ...]
    # The master keys under which the database's own sealed values are; () unless it is the console's.
    master_keys: tuple[str, ...] = ()
    format: int = FORMAT
    signer: str = field(default="", compare=False)

    def signed(self) -> bytes:
        """Return the file's contents: the manifest with its signature; raise `SealError`."""
        try:
            key = master_key.ring().current
        except EnvelopeError as exc:
            raise SealError(f"The manifest cannot be signed: {exc}") from None
        body = _plain(self) | {"signer": key.id}
        signature = signing_key(key).sign(_canonical(body))
        body["signature"] = base64.b64encode(signature).decode()
        return json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"


def parse(content: bytes) -> Manifest:
    """Return the manifest in a file, its signature checked; raise `DamagedError` or `SealError`."""
    try:
        body = json.loads(content)
        signature = base64.b64decode(body.pop("signature"), validate=True)
        signer, version = str(body["signer"]), int(body["format"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise DamagedError("The manifest is damaged: it is no signed JSON object.") from None
    if version != FORMAT:
        raise DamagedError(f"The manifest has format {version}; this console knows {FORMAT}.")
    try:
        signing_key(master_key.find(signer)).public_key().verify(signature, _canonical(body))
    except EnvelopeError as exc:
        raise SealError(f"The manifest's signature cannot be checked: {exc}") from None
    except InvalidSignature:
        raise DamagedError("The manifest was changed: its signature does not fit.") from None
    return _from_plain(body)


def signing_key(key: MasterKey) -> Ed25519PrivateKey:
    """Derive (HKDF, RFC 5869) the key that signs manifests from a master key."""
    seed = HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(key.key)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _plain(manifest: Manifest) -> dict[str, Any]:
    plain = asdict(manifest)
    for name in ("taken_at", "finished_at"):
        plain[name] = plain[name].astimezone(UTC).isoformat()
    # Tuples become the lists that JSON gives back.
    return dict(json.loads(json.dumps(plain)))


def _from_plain(body: dict[str, Any]) -> Manifest:
    """Build the manifest from what was signed; only a signer could have put nonsense in it."""
    facts = dict(body["facts"])
    facts |= {name: tuple(facts[name]) for name in ("acl", "roles")}
    facts["settings"] = tuple((role, setting) for role, setting in facts["settings"])
    known = {each.name for each in fields(Manifest)}
    given = {name: value for name, value in body.items() if name in known}
    given |= {name: tuple(body[name]) for name in ("recipients", "master_keys")}
    given |= {name: datetime.fromisoformat(body[name]) for name in ("taken_at", "finished_at")}
    given["facts"] = DatabaseFacts(**facts)
    given["tables"] = tuple(TableFacts(**table) for table in body["tables"])
    return Manifest(**given)
