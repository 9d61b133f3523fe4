"""Keys by which the console recognises values or chains records, each made at its first use."""

from __future__ import annotations

import base64
import os

from django.db import models
from django.db.models.functions import Now

from compliance_site.foundation.sealed import SealedModel
from compliance_site.foundation.secret_text import SecretText

DATA_KEY_BYTES = 32


class DataKey(SealedModel):
    """A random key under the master key. It never changes: what it made could not be compared."""

    name = models.CharField(max_length=100, primary_key=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "compliance_site_data_key"
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    def context(self) -> str:
        return f"compliance_site_data_key|{self.name}"


def data_key(name: str) -> bytes:
    """Return 32 random bytes, the same for a name in all processes; raise `EnvelopeError`.

    It is read each time: one that a process remembered would be wrong after the database was
    restored, or after the transaction that made it was rolled back.
    """
    key = DataKey.objects.filter(name=name).first() or _made(name)
    return base64.urlsafe_b64decode(key.unseal().reveal())


def _made(name: str) -> DataKey:
    made = DataKey(name=name)
    made.seal(SecretText(base64.urlsafe_b64encode(os.urandom(DATA_KEY_BYTES)).decode()))
    # Of two processes at once both read the winner's.
    DataKey.objects.bulk_create([made], ignore_conflicts=True)
    return DataKey.objects.get(name=name)
