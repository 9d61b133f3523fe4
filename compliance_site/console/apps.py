from django.contrib.admin.apps import AdminConfig


class ConsoleAdminConfig(AdminConfig):
    """Django admin with the console's own site."""

    default_site = "compliance_site.console.site.ConsoleSite"
