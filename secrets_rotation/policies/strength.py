"""What a value that people bring must be: strong, well-formed and new.

An error says which rule was broken, and never how near the value came, or to which one.
"""

from __future__ import annotations

import hashlib
import hmac

from zxcvbn import zxcvbn

from compliance_site.foundation.data_keys import data_key
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import ValueUnfitError
from secrets_rotation.models import Secret
from secrets_rotation.policies.generation import LONGEST, SHORTEST

# Guesses needed: "safely unguessable" and better, of 0 to 4.
LEAST_SCORE = 3
# What comes after costs the estimate more time than it adds strength.
ESTIMATED_SIGNS = 72
FINGERPRINTS = "secret fingerprints"


def check_supplied(secret: Secret, value: SecretText, history_length: int) -> None:
    """Raise `ValueUnfitError` naming the rule that the value breaks."""
    text = value.reveal()
    if not SHORTEST <= len(text) <= LONGEST:
        raise ValueUnfitError("length", f"Give {SHORTEST} to {LONGEST} signs.")
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueUnfitError(
            "signs", "Give printable ASCII without blanks at either end: every target takes it."
        )
    known_words = [secret.name, secret.secret_type, secret.owner]
    if zxcvbn(text[:ESTIMATED_SIGNS], user_inputs=known_words)["score"] < LEAST_SCORE:
        raise ValueUnfitError("strength", "This is too easy to guess; let the console make one.")
    check_new(secret, value, history_length)


def check_new(secret: Secret, value: SecretText, history_length: int) -> None:
    """Raise `ValueUnfitError` when the secret had this value before."""
    # Of what never became current there may be any number: it must not push the others out.
    had = secret.versions.filter(promoted_at__isnull=False).order_by("-number")
    known = had.values_list("fingerprint", flat=True)
    mine = fingerprint(secret, value)
    # Every one is compared, so that time does not tell which it was.
    if sum(hmac.compare_digest(mine, theirs) for theirs in known[:history_length]):
        raise ValueUnfitError("reuse", "This value was used before.")


def fingerprint(secret: Secret, value: SecretText) -> str:
    """Return what recognises the value of this secret later, without telling it."""
    message = f"{secret.pk}|{value.reveal()}".encode()
    return hmac.new(data_key(FINGERPRINTS), message, hashlib.sha256).hexdigest()
