from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit"
    # The runtime role may only add to these and read them.
    append_only_tables = ("audit_log", "audit_ingested_event")
    runtime_functions = ("audit_make_partition(date)",)

    def ready(self) -> None:
        from audit import checks  # noqa: F401  registers itself
        from audit.capture import sign_ins

        sign_ins.connect()
