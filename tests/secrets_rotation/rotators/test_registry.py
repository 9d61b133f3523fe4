import json
from datetime import date

import pytest
from django.core.management import call_command

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.models import Policy, Secret, TargetCredential
from secrets_rotation.rotators import registry
from secrets_rotation.rotators.postgresql.role import PostgresqlRole
from secrets_rotation.rotators.registry import UnknownRotatorError, rotator_class, rotator_of


def test_every_rotator_goes_by_its_name_and_says_what_it_does():
    assert registry.ROTATORS["postgresql_role"] is PostgresqlRole
    for name, rotator in registry.ROTATORS.items():
        assert rotator.name == name
        assert rotator.title
        assert rotator.summary.endswith(".")
        assert all(setting.help.endswith(".") for setting in rotator.settings)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("postgres_role", "did you mean postgresql_role?"), ("zzz", "there are command_hook, ")],
)
def test_an_unknown_name_leads_to_a_known_one(name, hint):
    with pytest.raises(UnknownRotatorError) as raised:
        rotator_class(name)

    assert str(raised.value).startswith(f"There is no rotator '{name}'; {hint}")


@pytest.fixture
def secret(db):
    return Secret.objects.create(
        policy=Policy.objects.get(secret_type="DATABASE"),
        name="app",
        rotator="postgresql_role",
        target={"host": "db.example", "adminUser": "rotation", "username": "app"},
        anchored_on=date(2025, 11, 9),
    )


def test_a_secrets_rotator_has_its_settings_the_sealed_ones_and_the_defaults(secret):
    sealed = TargetCredential(secret=secret)
    sealed.seal(SecretText('{"adminPassword": "its-Password"}'))
    sealed.save()

    rotator = rotator_of(secret)

    assert type(rotator) is PostgresqlRole
    assert rotator.target == {
        "host": "db.example",
        "port": 5432,
        "database": "postgres",
        "sslmode": "prefer",
        "sslRootCert": None,
        "adminUser": "rotation",
        "adminPassword": SecretText("its-Password"),
        "username": "app",
    }


def test_the_command_lists_rotators_and_settings(capsys):
    call_command("rotators")

    listed = capsys.readouterr().out
    assert "postgresql_role: Changes the password of one role" in listed
    assert "  adminPassword (str, required, secret): Its password." in listed


def test_the_command_speaks_to_programs(capsys):
    call_command("rotators", "--json")

    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert listed.keys() == registry.ROTATORS.keys()
    assert listed["postgresql_role"]["overlaps"] is False
    assert listed["postgresql_pair"]["overlaps"] is True
    assert {
        "name": "port",
        "kind": "int",
        "required": False,
        "secret": False,
        "default": 5432,
        "help": "Its port.",
    } in listed["postgresql_role"]["settings"]


def test_the_commands_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        call_command("rotators", "--help")

    assert "manage.py rotators --json" in capsys.readouterr().out
