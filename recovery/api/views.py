"""Is the console alive?"""

from datetime import UTC, datetime

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Answer that the process serves requests; it asks no database and no session."""
    return JsonResponse(
        {"status": "healthy", "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    )
