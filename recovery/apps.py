from django.apps import AppConfig


class RecoveryConfig(AppConfig):
    name = "recovery"
    verbose_name = "Disaster recovery"

    def ready(self) -> None:
        from prometheus_client import REGISTRY

        from recovery import checks  # noqa: F401  registers itself
        from recovery.health import heartbeat
        from recovery.metrics import RecoveryCollector
        from recovery.restore import holding

        heartbeat.connect()
        holding.connect()
        REGISTRY.register(RecoveryCollector())
