from django.apps import AppConfig


class CodeScanningConfig(AppConfig):
    name = "code_scanning"
    verbose_name = "Code scanning"
