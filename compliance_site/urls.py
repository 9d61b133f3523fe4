"""Every address of the console."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from compliance_site.foundation.api.permissions import HasAnyRole
from compliance_site.metrics import metrics

may_read_docs = {"permission_classes": (HasAnyRole,)}

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("audit/", include("audit.api.urls")),
    path("", include("secrets_rotation.api.urls")),
    path("", include("recovery.api.urls")),
    path("metrics", metrics, name="metrics"),
    path("api/schema", SpectacularAPIView.as_view(**may_read_docs), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(**may_read_docs), name="docs"),
]

handler404 = "compliance_site.foundation.api.errors.not_found"
handler500 = "compliance_site.foundation.api.errors.server_error"
