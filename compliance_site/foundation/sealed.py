"""Rows that hold something sealed: the columns of an envelope."""

from __future__ import annotations

from abc import abstractmethod

from django.db import models

from compliance_site.foundation import envelope
from compliance_site.foundation.envelope import Sealed
from compliance_site.foundation.secret_text import SecretText


class SealedModel(models.Model):
    """A row with one sealed text; `manage.py master_key rotate` re-wraps all of them.

    The context is what the ciphertext is bound to, so that no row's value opens in another's
    place: table, row and whose secret it is. It must be known before sealing and never change.
    """

    key_id = models.CharField(max_length=16, db_index=True)
    wrapped_key = models.BinaryField()
    nonce = models.BinaryField()
    ciphertext = models.BinaryField()

    class Meta:
        abstract = True

    @abstractmethod
    def context(self) -> str:
        """Return what the ciphertext is bound to."""

    def seal(self, text: SecretText) -> None:
        """Put the sealed text into the columns; save afterwards.

        Raise `ValueError` for a row without a key yet, to which nothing could be bound, and
        for a text that is no Unicode (lone surrogates).
        """
        if self.pk is None:
            raise ValueError(f"{type(self).__name__} needs its primary key before sealing.")
        try:
            plain = text.reveal().encode()
        except UnicodeEncodeError:
            # The codec's own error holds the text.
            plain = None
        if plain is None:
            raise ValueError("The text holds a lone surrogate.")
        self.envelope = envelope.seal(plain, context=self.context())

    def unseal(self) -> SecretText:
        """Return the text; raise `EnvelopeError` when it cannot be opened here."""
        return SecretText(envelope.unseal(self.envelope, context=self.context()).decode())

    @property
    def envelope(self) -> Sealed:
        return Sealed(
            self.key_id, bytes(self.wrapped_key), bytes(self.nonce), bytes(self.ciphertext)
        )

    @envelope.setter
    def envelope(self, sealed: Sealed) -> None:
        self.key_id = sealed.key_id
        self.wrapped_key = sealed.wrapped_key
        self.nonce = sealed.nonce
        self.ciphertext = sealed.ciphertext
