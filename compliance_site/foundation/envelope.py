"""Envelope encryption: each value under a key of its own, that key wrapped by the master key.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce for both. Value and key are bound to
a context (table, row, whose it is), so that neither opens in another row's place. Rotating
the master key re-wraps the small keys; no value is decrypted for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from compliance_site.foundation import master_key
from compliance_site.foundation.master_key import KEY_BYTES, EnvelopeError, MasterKey

NONCE_BYTES = 12


class TamperedError(EnvelopeError):
    """The sealed value was changed, or belongs to another row."""


@dataclass(frozen=True)
class Sealed:
    """What is stored of a value: nothing of it can be read without the master key."""

    key_id: str
    wrapped_key: bytes  # nonce and ciphertext of the value's own key
    nonce: bytes
    ciphertext: bytes


def seal(plain: bytes, *, context: str) -> Sealed:
    """Encrypt under a new key of its own, wrapped by the current master key."""
    own_key, nonce = AESGCM.generate_key(KEY_BYTES * 8), os.urandom(NONCE_BYTES)
    master = master_key.ring().current
    return Sealed(
        key_id=master.id,
        wrapped_key=_wrap(own_key, master, context),
        nonce=nonce,
        ciphertext=AESGCM(own_key).encrypt(nonce, plain, context.encode()),
    )


def unseal(sealed: Sealed, *, context: str) -> bytes:
    """Decrypt; raise `UnknownKeyError` or `TamperedError`."""
    own_key = _unwrap(sealed, context)
    try:
        return AESGCM(own_key).decrypt(sealed.nonce, sealed.ciphertext, context.encode())
    except (InvalidTag, ValueError) as exc:
        raise TamperedError(TamperedError.__doc__) from exc


def rewrap(sealed: Sealed, *, context: str) -> Sealed:
    """Wrap the value's key by the current master key; the value itself stays as it is."""
    master = master_key.ring().current
    wrapped = _wrap(_unwrap(sealed, context), master, context)
    return Sealed(master.id, wrapped, sealed.nonce, sealed.ciphertext)


def _wrap(own_key: bytes, master: MasterKey, context: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(master.key).encrypt(nonce, own_key, _wrap_context(master.id, context))


def _unwrap(sealed: Sealed, context: str) -> bytes:
    master = master_key.find(sealed.key_id)
    nonce, wrapped = sealed.wrapped_key[:NONCE_BYTES], sealed.wrapped_key[NONCE_BYTES:]
    try:
        return AESGCM(master.key).decrypt(nonce, wrapped, _wrap_context(master.id, context))
    except (InvalidTag, ValueError) as exc:
        raise TamperedError(TamperedError.__doc__) from exc


def _wrap_context(key_id: str, context: str) -> bytes:
    return f"key|{key_id}|{context}".encode()
