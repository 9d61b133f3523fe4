"""ASGI entry, for servers that speak it."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")

application = get_asgi_application()

# A server that never runs a management command must refuse unsafe settings too.
from audit.capture import writer  # noqa: E402
from compliance_site.foundation.checks import refuse_unsafe_settings  # noqa: E402
from compliance_site.foundation.postgresql import limit_waits  # noqa: E402

refuse_unsafe_settings()
limit_waits()
# Before the first request: an earlier process may have left entries in the spool.
writer.start()
