"""Recovery's pages in the console."""

from django.contrib import admin

from recovery.admin.health import HealthAdmin
from recovery.admin.registered import BackupAdmin, RestoreRequestAdmin
from recovery.models import Backup, HealthSample, RestoreRequest

admin.site.register(HealthSample, HealthAdmin)
admin.site.register(Backup, BackupAdmin)
admin.site.register(RestoreRequest, RestoreRequestAdmin)
