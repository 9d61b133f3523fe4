"""WSGI entry: `granian --interface wsgi compliance_site.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")

application = get_wsgi_application()

# A server that never runs a management command must refuse unsafe settings too.
from compliance_site.foundation.checks import refuse_unsafe_settings  # noqa: E402

refuse_unsafe_settings()
