from django.urls import path

from recovery.api import backups, health

urlpatterns = [
    path("health", health.alive, name="health"),
    path("health/ready", health.ready, name="health-ready"),
    path("health/detailed", health.detailed, name="health-detailed"),
    path("health/database", health.database, name="health-database"),
    path("health/redis", health.redis, name="health-redis"),
    path("backups", backups.Backups.as_view(), name="backups"),
    path("backups/<str:id>", backups.BackupDetail.as_view(), name="backup"),
    path("backups/<str:id>/verify", backups.VerifyBackup.as_view(), name="backup-verify"),
    path("backups/<str:id>/pin", backups.PinBackup.as_view(), name="backup-pin"),
    path("backups/<str:id>/download", backups.DownloadBackup.as_view(), name="backup-download"),
    path(
        "backups/<str:id>/restore-plan", backups.RestorePlan.as_view(), name="backup-restore-plan"
    ),
]
