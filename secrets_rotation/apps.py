from django.apps import AppConfig


class SecretsRotationConfig(AppConfig):
    name = "secrets_rotation"
    verbose_name = "Secret rotation"
