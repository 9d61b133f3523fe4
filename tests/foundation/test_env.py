from ipaddress import ip_network

import pytest
from django.core.exceptions import ImproperlyConfigured

from compliance_site.foundation import env


@pytest.mark.parametrize(
    ("reader", "raw", "value"),
    [
        (env.env_bool, "Yes", True),
        (env.env_bool, "0", False),
        (env.env_int, " 7 ", 7),
        (env.env_str, "text", "text"),
        (env.env_list, "a, b,,c", ["a", "b", "c"]),
        (env.env_networks, "10.0.0.0/8,::1", [ip_network("10.0.0.0/8"), ip_network("::1/128")]),
        (env.env_networks, "none", []),
        (env.env_secret, "s3cret", "s3cret"),
    ],
)
def test_a_variable_is_read(monkeypatch, reader, raw, value):
    monkeypatch.setenv("NAME", raw)

    assert reader("NAME") == value


@pytest.mark.parametrize("raw", ["", "   "])
def test_an_empty_variable_counts_as_unset(monkeypatch, raw):
    monkeypatch.setenv("NAME", raw)

    assert env.env_int("NAME", 5) == 5
    with pytest.raises(ImproperlyConfigured, match="NAME is not set"):
        env.env_int("NAME")


@pytest.mark.parametrize(
    ("reader", "raw"),
    [
        (env.env_bool, "maybe"),
        (env.env_int, "many"),
        (env.env_networks, "10.0.0.1/8"),
        (lambda name: env.env_int(name, minimum=1), "0"),
        (lambda name: env.env_choice(name, ("red", "blue")), "green"),
    ],
)
def test_a_value_that_does_not_parse_is_named(monkeypatch, reader, raw):
    monkeypatch.setenv("NAME", raw)

    with pytest.raises(ImproperlyConfigured, match="NAME"):
        reader("NAME")


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("NAME_FILE", str(tmp_path / "key"))

    assert env.env_secret("NAME") == "s3cret"


def test_a_secret_given_twice_or_not_readable_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("NAME_FILE", str(tmp_path / "absent"))
    with pytest.raises(ImproperlyConfigured, match="NAME_FILE"):
        env.env_secret("NAME")

    monkeypatch.setenv("NAME", "s3cret")
    with pytest.raises(ImproperlyConfigured, match="not both") as refusal:
        env.env_secret("NAME")
    assert "s3cret" not in str(refusal.value)


def test_a_database_url_is_taken_apart():
    assert env.postgresql_database(
        "postgresql://us%40er:p%2Fw@db:6432/abtpro_db?sslmode=require", name="DATABASE_URL"
    ) == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "abtpro_db",
        "USER": "us@er",
        "PASSWORD": "p/w",
        "HOST": "db",
        "PORT": 6432,
        "OPTIONS": {"sslmode": "require"},
    }


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "postgresql://u:hunter2@h", "postgresql://u:hunter2@h:port/d"]
)
def test_a_bad_database_url_is_refused_without_its_password(url):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as refusal:
        env.postgresql_database(url, name="DATABASE_URL")
    assert "hunter2" not in str(refusal.value)
