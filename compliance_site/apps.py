from django.apps import AppConfig


class ComplianceSiteConfig(AppConfig):
    name = "compliance_site"
    verbose_name = "Compliance console"

    def ready(self) -> None:
        from compliance_site.foundation import checks  # noqa: F401  registers itself
