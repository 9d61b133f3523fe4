"""The Celery application: `celery -A compliance_site worker|beat`."""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init
from django.core.exceptions import ImproperlyConfigured

from compliance_site.foundation import checks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")

app = Celery("compliance_site", task_cls="audit.capture.celery_task:AuditedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**kwargs: Any) -> None:
    """Leave logging as `settings.LOGGING` has it; without a receiver Celery replaces it."""


@worker_init.connect
@beat_init.connect
def refuse_unsafe_settings(**kwargs: Any) -> None:
    """Stop a worker or beat that would run with unsafe settings, as the web server does."""
    try:
        checks.refuse_unsafe_settings()
    except ImproperlyConfigured as exc:
        # Celery logs an exception of a receiver and goes on; it does not catch this one.
        sys.exit(str(exc))
