"""Going back to a moment: how far each server's archive reaches, and what is amiss with it."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from recovery.admin.pages import for_readers, page
from recovery.exceptions import ConfigurationError
from recovery.physical import configured
from recovery.physical.recovery_point import FRESH_SECONDS, Look, looks
from recovery.physical.wal import lsn_text


@dataclass(frozen=True)
class Stretch:
    """A stretch of the log without a gap, as the page words it."""

    since: str
    until: str
    span: object


@dataclass(frozen=True)
class Server:
    """One server's archive; without a look nothing was known in time."""

    name: str
    look: Look | None

    @property
    def tone(self) -> str:
        if self.look is None or self.look.status.problems:
            return "bad"
        return "warn" if self.look.status.warnings else "good"

    @property
    def stretches(self) -> list[Stretch]:
        """Return what is covered, the newest first."""
        covered = self.look.covered if self.look else ()
        return [
            Stretch(lsn_text(each.since), lsn_text(each.until), each) for each in reversed(covered)
        ]


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show each server's archive as it was when last looked at, some seconds ago at most.

    A server that hangs is waited for some seconds.
    """
    try:
        servers, problem = [Server(name, look) for name, look in looks().items()], ""
    except ConfigurationError as exc:
        servers, problem = [], str(exc)
    context = {
        "is_configured": configured.is_configured(),
        "servers": servers,
        "problem": problem,
        "headline": headline(servers, problem),
        "fresh_seconds": FRESH_SECONDS,
    }
    return page(request, "point_in_time.html", "Point in time", **context)


def headline(servers: list[Server], problem: str) -> str:
    """Say whether one could go back, as the first line of the page."""
    if problem:
        return "The archives cannot be told"
    if not servers:
        return "Going back to a moment is not switched on"
    amiss = [server.name for server in servers if server.tone == "bad"]
    if amiss:
        return f"{', '.join(amiss)}: somebody has to look"
    return "Every archived server can be taken back to any moment below"
