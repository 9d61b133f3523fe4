"""The console: settings, doors and what composes the apps."""

from compliance_site.celery import app as celery_app

__all__ = ["celery_app"]
