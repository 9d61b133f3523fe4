from django.urls import path

from secrets_rotation.api import break_glass, consumers, rotation, runs, secrets

urlpatterns = [
    path("secrets", secrets.Secrets.as_view(), name="secrets"),
    path("secrets/<int:id>", secrets.SecretDetail.as_view(), name="secret"),
    path("secrets/<int:id>/consumers", consumers.Consumers.as_view(), name="consumers"),
    path(
        "secrets/<int:id>/consumers/<int:consumer_id>",
        consumers.ConsumerDetail.as_view(),
        name="consumer",
    ),
    path(
        "secrets/<int:id>/consumers/<int:consumer_id>/acknowledgements",
        consumers.Acknowledgements.as_view(),
        name="acknowledgements",
    ),
    path("secrets/rotation/schedule", rotation.Schedule.as_view(), name="rotation-schedule"),
    path("secrets/rotation/rotate", rotation.Rotate.as_view(), name="rotation-rotate"),
    path("secrets/rotation/history", rotation.History.as_view(), name="rotation-history"),
    path("secrets/rotation/policy", rotation.PolicyView.as_view(), name="rotation-policy"),
    path(
        "secrets/rotation/policy/preview", rotation.PolicyPreview.as_view(), name="rotation-preview"
    ),
    path("secrets/rotation/runs/<int:id>", runs.RunDetail.as_view(), name="rotation-run"),
    path("secrets/rotation/runs/<int:id>/usages", runs.RunUsages.as_view(), name="rotation-usages"),
    path("secrets/rotation/runs/<int:id>/resume", runs.Resume.as_view(), name="rotation-resume"),
    path(
        "secrets/rotation/runs/<int:id>/roll-back",
        runs.RollBack.as_view(),
        name="rotation-roll-back",
    ),
    path("secrets/rotation/runs/<int:id>/revoke", runs.EndGrace.as_view(), name="rotation-revoke"),
    path("secrets/rotation/runs/<int:id>/adopt", runs.Adopt.as_view(), name="rotation-adopt"),
    path("secrets/break-glass", break_glass.BreakGlasses.as_view(), name="break-glasses"),
    path(
        "secrets/break-glass/<int:id>", break_glass.BreakGlassDetail.as_view(), name="break-glass"
    ),
    path(
        "secrets/break-glass/<int:id>/approve",
        break_glass.Approve.as_view(),
        name="break-glass-approve",
    ),
    path(
        "secrets/break-glass/<int:id>/reject",
        break_glass.Reject.as_view(),
        name="break-glass-reject",
    ),
]
