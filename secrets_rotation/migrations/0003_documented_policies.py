"""The policies that the user's document recommends."""

from datetime import time, timedelta

from django.db import migrations

INTERVAL_DAYS = {"DATABASE": 90, "ENCRYPTION_KEY": 180, "API_KEY": 60, "OAUTH_SECRET": 90}


def make_policies(apps, schema_editor):
    policies = apps.get_model("secrets_rotation", "Policy").objects.using(
        schema_editor.connection.alias
    )
    for secret_type, days in INTERVAL_DAYS.items():
        policies.get_or_create(
            secret_type=secret_type,
            defaults={
                "interval": days,
                "interval_unit": "days",
                "grace": timedelta(days=7),
                "auto_rotate": True,
                "window_start": time(0),
                "window_end": time(0),
                "history_length": 5,
                "value_length": 32,
                "value_symbols": "-_.~",
            },
        )


class Migration(migrations.Migration):
    dependencies = [("secrets_rotation", "0002_append_only_history")]

    operations = [migrations.RunPython(make_policies, migrations.RunPython.noop)]
