from django.urls import path

from audit.api import events, views
from audit.api.redaction.views import RedactionLookup

urlpatterns = [
    path("logs", views.AuditLogList.as_view(), name="audit-logs"),
    path("logs/<int:id>", views.AuditLogDetail.as_view(), name="audit-log"),
    path("export", views.AuditExport.as_view(), name="audit-export"),
    path("stats", views.AuditStatistics.as_view(), name="audit-stats"),
    path("events", events.Events.as_view(), name="audit-events"),
    path("redaction/lookup", RedactionLookup.as_view(), name="audit-redaction-lookup"),
]
