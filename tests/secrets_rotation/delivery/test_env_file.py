import os
import subprocess

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secrets_rotation.delivery.destinations.env_file import EnvFile, quoted, with_lines
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.conftest import VALUE, destination

READ_BACK = '. "$0" && printf %s "$SECRET"'


def read_by_sh(file):
    # Bytes as they are, whatever the locale.
    command = ["sh", "-c", READ_BACK, str(file)]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()


def read_by_compose(text):
    """What compose-go makes of it: in single quotes nothing is special, outside of them `$` is."""
    value = text.removeprefix("SECRET=").removesuffix("\n")
    if value.startswith("'"):
        assert value.endswith("'")
        assert "'" not in value[1:-1]
        assert "\\" not in value[1:-1]
        return value[1:-1]
    assert not set(value) & set("$#\\\"' `")
    return value


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "with spaces  inside ",
        " # no comment",
        '"double"',
        "$HOME and $(id) and `id`",
        "a=b#c;d&e|f>g<h*i?j[k]l!m",
        "~/home:~root",
        "~",
        "pässwörd",
        "{curly}$",
        "%41^",
    ],
)
def test_every_reader_reads_the_same_value(folder, make_parcel, value):
    destination("env_file", path=".env", variable="SECRET").deliver(make_parcel(value=value))

    file = folder / ".env"
    assert dotenv_values(file)["SECRET"] == value
    assert read_by_sh(file) == value
    assert read_by_compose(file.read_text()) == value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_what_is_not_refused_is_read_back_by_all(tmp_path_factory, value):
    try:
        line = f"SECRET={quoted(value)}\n"
    except DeliveryError:
        return
    file = tmp_path_factory.mktemp("env") / ".env"
    file.write_bytes(line.encode())

    assert dotenv_values(file)["SECRET"] == value
    assert read_by_sh(file) == value
    assert read_by_compose(line) == value


@pytest.mark.parametrize("value", ["it's", "back\\slash", "${HOME}", "two\nlines", "a\rb", "a\tb"])
def test_values_on_which_readers_disagree_are_refused(value):
    with pytest.raises(DeliveryError) as refusal:
        quoted(value)

    assert value not in str(refusal.value)


BEFORE = b"""\
# Database of the \xe9t\xe9: DB_PASSWORD=never this one
export DB_PASSWORD = "old" # rotated by the console
DB_PASSWORD_2=other\r
PEM="-----BEGIN-----
DB_PASSWORD=looks like one
-----END-----"
  DB_PASSWORD='old\tone'
EMPTY=

last=without an end"""

AFTER = b"""\
# Database of the \xe9t\xe9: DB_PASSWORD=never this one
export DB_PASSWORD=new # rotated by the console
DB_PASSWORD_2=other\r
PEM="-----BEGIN-----
DB_PASSWORD=looks like one
-----END-----"
  DB_PASSWORD=new
EMPTY=

last=without an end"""


def test_other_lines_and_comments_stay_byte_for_byte():
    assert with_lines(BEFORE, {"DB_PASSWORD": "DB_PASSWORD=new"}) == AFTER


def test_a_missing_variable_is_added_at_the_end():
    assert with_lines(b"A=1", {"B": "B=2"}) == b"A=1\nB=2\n"
    assert with_lines(b"", {"B": "B=2"}) == b"B=2\n"


@pytest.mark.parametrize(
    ("line", "after"),
    [
        (b"S=a b # c", b"S=new # c"),
        (b"S= # c", b"S=new # c"),
        (b"S=a#b", b"S=new"),
        (b"S='a'# c", b"S=new"),
        (b"S='a'\\''b'", b"S=new"),
        (b"S='a' # c", b"S=new # c"),
        (b'S="a\\"b" # c', b"S=new # c"),
        (b"S='unfinished", b"S=new"),
        (b"S=x\r\nT='y'\r\n", b"S=new\r\nT='y'\r\n"),
    ],
)
def test_old_values_of_every_form_are_replaced(line, after):
    assert with_lines(line, {"S": "S=new"}) == after


def test_value_and_username_change_together(folder, make_parcel):
    (folder / ".env").write_text("DB_USER=app_1\nDB_PASSWORD=old\n")

    destination(
        "env_file", path=".env", variable="DB_PASSWORD", usernameVariable="DB_USER"
    ).deliver(make_parcel(2))

    assert dotenv_values(folder / ".env") == {"DB_USER": "app_2", "DB_PASSWORD": VALUE.format(2)}


def test_two_secrets_share_a_file_each_with_its_own_versions(folder, make_parcel):
    first = destination("env_file", path=".env", variable="FIRST")
    second = destination("env_file", path=".env", variable="SECOND")
    first.deliver(make_parcel(5))
    second.deliver(make_parcel(1, secret_name="other"))

    with pytest.raises(DeliveryError, match="is older"):
        first.deliver(make_parcel(4))

    assert dotenv_values(folder / ".env") == {"FIRST": VALUE.format(5), "SECOND": VALUE.format(1)}


def test_the_same_version_again_leaves_the_file_untouched(folder, make_parcel):
    line = destination("env_file", path=".env", variable="SECRET")
    line.deliver(make_parcel(1))
    before = os.stat(folder / ".env")

    line.deliver(make_parcel(1))

    assert os.stat(folder / ".env") == before


def test_settings_that_cannot_work_are_named(folder):
    given = {"path": ".env", "mode": "0600", "variable": "1ST", "usernameVariable": "A B"}

    assert EnvFile.problems(given).keys() == {"variable", "usernameVariable"}
    assert EnvFile.problems(given | {"variable": "exported"}).keys() >= {"variable"}
    assert EnvFile.problems(given | {"variable": "A", "usernameVariable": "A"}).keys() == {
        "usernameVariable"
    }
