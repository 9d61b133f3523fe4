"""The log's pages in the console: the list with its filters, the entry, the exports."""

from django.contrib import admin

from audit.admin.pages import AuditLogAdmin
from audit.models import AuditLog

admin.site.register(AuditLog, AuditLogAdmin)
