"""Consumers that fetch new versions elsewhere and only acknowledge them here."""

from __future__ import annotations

from secrets_rotation.delivery.destinations.base import Destination, Parcel


class NoDelivery(Destination):
    name = "none"
    title = "Nothing is delivered"
    summary = "The consumer gets new versions some other way, and only acknowledges them here."

    def deliver(self, parcel: Parcel) -> None:
        """Do nothing: there is nowhere to bring it."""
