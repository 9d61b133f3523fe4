from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from compliance_site.foundation.notices import channels
from compliance_site.foundation.notices.models import Notice, Urgency
from compliance_site.foundation.notices.sending import attempt


class Command(BaseCommand):
    help = (
        "Send a test notice through each configured channel at once, past the outbox, and say "
        "how each went. Ends with 1 when one failed.  Example: manage.py send_test_notice"
    )

    def handle(self, **options: Any) -> None:
        names = list(channels.configured())
        if not names:
            raise CommandError(
                "No channel is configured: set NOTICE_EMAIL_TO, NOTICE_WEBHOOK_URL with "
                "NOTICE_WEBHOOK_SECRET, or NOTICE_APPRISE_URLS."
            )
        problems = {name: attempt(_test_notice(name)) for name in names}
        for name, problem in problems.items():
            self.stdout.write(f"{name}: {problem or 'sent.'}")
        if failed := [name for name, problem in problems.items() if problem]:
            raise CommandError(f"{len(failed)} of {len(names)} channels failed.")


def _test_notice(channel: str) -> Notice:
    return Notice(
        topic="test",
        key="test",
        channel=channel,
        urgency=Urgency.INFO,
        subject="Test notice of the compliance console",
        body="This channel works. Nothing has happened and nothing has to be done.",
        created_at=timezone.now(),
    )
