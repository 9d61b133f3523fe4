"""The console's settings with nothing around two small views but the capture to measure.

`BENCH_CAPTURE` names it: none, console, easyaudit or auditlog.
"""

import os

from compliance_site.settings import *  # noqa: F403

CAPTURE = os.environ["BENCH_CAPTURE"]
APPS = {"easyaudit": ["easyaudit"], "auditlog": ["auditlog"]}
MIDDLEWARES = {
    "none": [],
    "console": ["audit.capture.middleware.AuditMiddleware"],
    "easyaudit": ["easyaudit.middleware.easyaudit.EasyAuditMiddleware"],
    "auditlog": ["auditlog.middleware.AuditlogMiddleware"],
}

ROOT_URLCONF = "bench.web_urls"
MIDDLEWARE = MIDDLEWARES[CAPTURE]
INSTALLED_APPS += APPS.get(CAPTURE, [])  # noqa: F405
# One row for each request, as the peer is usually run.
DJANGO_EASY_AUDIT_WATCH_MODEL_EVENTS = False
DJANGO_EASY_AUDIT_WATCH_AUTH_EVENTS = False
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]
