"""System checks: a webhook that could not be signed is reported at start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from compliance_site.foundation import webhook
from compliance_site.foundation.secret_text import SecretText


@register()
def webhook_can_be_signed(**kwargs: Any) -> list[CheckMessage]:
    """Report notices.E001 for a NOTICE_WEBHOOK_URL without a key that can sign."""
    if not settings.NOTICE_WEBHOOK_URL:
        return []
    try:
        webhook.key_bytes(SecretText(settings.NOTICE_WEBHOOK_SECRET))
    except webhook.WebhookKeyError as exc:
        return [Error(str(exc), hint="Set NOTICE_WEBHOOK_SECRET.", id="notices.E001")]
    return []
