"""A signed POST with the new version to an address of the consumer's."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from compliance_site.foundation import webhook
from compliance_site.foundation.secret_text import SecretText
from compliance_site.foundation.webhook import WebhookKeyError
from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations.base import Destination, Parcel, document
from secrets_rotation.delivery.destinations.calls import Calls, url_problem
from secrets_rotation.exceptions import DeliveryError


class Webhook(Destination):
    name = "webhook"
    title = "Signed webhook"
    summary = "Posts the version as JSON, signed by the scheme of Standard Webhooks."
    settings = (
        Setting("url", "Where to post; https outside of allowed networks.", required=True),
        Setting(
            "signingKey",
            "The key that signs: whsec_ and base64, or any text, of 24 bytes or more.",
            required=True,
            secret=True,
        ),
        Setting("previous", "Send the version before too while it works.", bool, False),
        Setting(
            "caCertificate",
            "PEM of the authority to trust instead of the usual.",
            str,
            "",
            has_lines=True,
        ),
    )
    address = ("url", "caCertificate")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        found = {"url": url_problem(given["url"])}
        try:
            webhook.key_bytes(given["signingKey"])
        except WebhookKeyError:
            found["signingKey"] = "Use 24 bytes or more, in base64 after whsec_ or as they are."
        return {name: problem for name, problem in found.items() if problem}

    @property
    def keeps_earlier(self) -> bool:
        return bool(self.given["previous"])

    def deliver(self, parcel: Parcel) -> None:
        """Post it; the same id each time, by which the receiver knows what it has already."""
        body = json.dumps({"type": "secret.version", "data": document(parcel)}).encode()
        key = self.given["signingKey"]
        try:
            signed = webhook.signed_headers(_message_id(key, body), body, key)
        except WebhookKeyError:
            raise DeliveryError("The signing key is too short, or not base64.") from None
        headers = {"Content-Type": "application/json", **signed}
        answer = Calls(self.given["caCertificate"]).send("POST", self.given["url"], headers, body)
        if not answer.is_success:
            raise DeliveryError(f"The receiver answered {answer.status}.")


def _message_id(key: SecretText, body: bytes) -> str:
    """Return the same id for the same content; not the row's, which a restored backup uses again."""
    return hmac.digest(webhook.key_bytes(key), b"id|" + body, "sha256").hex()[:32]
