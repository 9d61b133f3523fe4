from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

import audit
from audit.models import Action
from compliance_site.foundation.accounts import TOKEN_ROLES, issue_token

EXAMPLES = """examples:
  manage.py issue_token alice --role auditor
  manage.py issue_token trading-api --role service --days 365
  curl -H "Authorization: Token $(manage.py issue_token alice --role auditor)" \\
       http://localhost:8000/audit/logs
"""


class Command(BaseCommand):
    help = "Print a new API token, and nothing else; the user is made when missing."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--role", required=True, choices=TOKEN_ROLES)
        parser.add_argument("--days", type=int, help="valid for so many days (API_TOKEN_DAYS)")

    def handle(self, *, username: str, role: str, days: int | None, **options: Any) -> str:
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--days: give a number from 1 to 3650.")
        lifetime = timedelta(days=days) if days else None
        try:
            with transaction.atomic():
                issued = issue_token(username, role, lifetime=lifetime)
                audit.record(
                    Action.ISSUE_TOKEN,
                    resource=f"user/{username}",
                    details={"role": role, "madeUser": issued.made_user},
                )
        except ValidationError as exc:
            raise CommandError(f"username: {' '.join(exc.messages)}") from exc
        return issued.token
