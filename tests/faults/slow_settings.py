"""The console's own settings, with views that take long enough to be interrupted."""

from compliance_site.settings import *  # noqa: F403

ROOT_URLCONF = "tests.faults.slow_views"
AUDIT_POLICY = [
    {"path": "/health", "level": "none"},
    {"path": "/slow/change", "strictness": "write_ahead"},
    {"path": "/large", "level": "request_response"},
]
