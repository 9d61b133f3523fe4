from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "compliance_site.foundation.notices"
    label = "notices"
    verbose_name = "Notices"

    def ready(self) -> None:
        from compliance_site.foundation.notices import checks  # noqa: F401  registers itself
