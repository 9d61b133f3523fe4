from django.apps import AppConfig


class SecretsRotationConfig(AppConfig):
    name = "secrets_rotation"
    verbose_name = "Secret rotation"
    # The runtime role may only add to these and read them.
    append_only_tables = (
        "secrets_rotation_acknowledgement",
        "secrets_rotation_history",
        "secrets_rotation_step",
    )

    def ready(self) -> None:
        from prometheus_client import REGISTRY

        from secrets_rotation.metrics import RotationCollector

        REGISTRY.register(RotationCollector())
