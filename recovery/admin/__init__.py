"""Recovery's pages in the console."""

from django.contrib import admin

from recovery.admin.health import HealthAdmin
from recovery.models import HealthSample

admin.site.register(HealthSample, HealthAdmin)
