from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit"
    # The runtime role may only add to these and read them.
    append_only_tables = ("audit_log", "audit_ingested_event", "audit_intent")
    runtime_functions = ("audit_make_partition(date)",)

    def ready(self) -> None:
        from prometheus_client import REGISTRY

        from audit import checks  # noqa: F401  registers itself
        from audit.capture import redaction, sign_ins
        from audit.capture.redaction.configured import configured_redactor
        from audit.metrics import SpoolCollector

        redaction.install(configured_redactor())

        sign_ins.connect()
        REGISTRY.register(SpoolCollector())
