from django.urls import path

from recovery.api import health

urlpatterns = [
    path("health", health.alive, name="health"),
    path("health/ready", health.ready, name="health-ready"),
    path("health/detailed", health.detailed, name="health-detailed"),
    path("health/database", health.database, name="health-database"),
    path("health/redis", health.redis, name="health-redis"),
]
