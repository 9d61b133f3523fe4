import contextlib
import signal
import socket
import threading
import time

import pytest

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.postgresql.probe import attempt
from secrets_rotation.rotators.postgresql.server import Login, Server

PASSWORD = "a-Password.of-the-test"
LOCAL_RULES = """\
host all trusted 127.0.0.1/32 trust
host all in_clear 127.0.0.1/32 password
host all barred 127.0.0.1/32 reject
"""


def server_of(cluster, **overrides):
    target = cluster.target | {"database": "postgres", "sslRootCert": ""} | overrides
    return Server.of(target)


def tried(cluster, role, password=PASSWORD, **overrides):
    return attempt(server_of(cluster, **overrides), Login(role, SecretText(password)))


@pytest.fixture
def role(make_role):
    return make_role(options=f"LOGIN PASSWORD '{PASSWORD}'")


def test_a_right_password_works_and_a_wrong_one_is_refused(cluster, role):
    assert tried(cluster, role) is Answer.WORKS
    assert tried(cluster, role, "wrong") is Answer.REFUSED
    assert tried(cluster, "nobody_of_that_name") is Answer.REFUSED


@pytest.mark.parametrize("options", ["NOLOGIN", "VALID UNTIL '2001-01-01'", "PASSWORD NULL"])
def test_a_role_that_cannot_log_in_is_refused(cluster, role, options):
    cluster.execute(f"ALTER ROLE {{}} {options}", role)

    assert tried(cluster, role) is Answer.REFUSED


def test_whatever_else_keeps_a_login_out_is_unknown(cluster, role):
    assert tried(cluster, role, database="no_such_database") is Answer.UNKNOWN
    assert tried(cluster, role, sslmode="require") is Answer.UNKNOWN
    assert tried(cluster, role, host="no-such-host.invalid") is Answer.UNKNOWN
    cluster.execute("ALTER ROLE {} CONNECTION LIMIT 0", role)
    assert tried(cluster, role) is Answer.UNKNOWN  # 53300


def test_without_an_own_encryption_the_server_is_taken_as_it_is(cluster, role):
    assert tried(cluster, role, sslmode="prefer") is Answer.WORKS


@pytest.mark.parametrize(
    ("sslmode", "host", "trusts", "answer"),
    [
        ("prefer", "127.0.0.1", False, Answer.WORKS),
        ("require", "127.0.0.1", False, Answer.WORKS),
        ("verify-ca", "localhost", True, Answer.WORKS),
        ("verify-full", "127.0.0.1", True, Answer.WORKS),
        ("verify-full", "localhost", True, Answer.UNKNOWN),
        ("verify-full", "127.0.0.1", False, Answer.UNKNOWN),
    ],
)
def test_the_server_is_verified_as_asked_for(
    encrypted_cluster, certificate, sslmode, host, trusts, answer
):
    encrypted_cluster.execute(f"CREATE ROLE over_tls LOGIN PASSWORD '{PASSWORD}'")
    root = {"sslRootCert": str(certificate.certificate)} if trusts else {}
    try:
        assert tried(encrypted_cluster, "over_tls", sslmode=sslmode, host=host, **root) is answer
    finally:
        encrypted_cluster.execute("DROP ROLE over_tls")


@pytest.fixture
def local_rules(own_cluster):
    """Rules of pg_hba.conf that check no password, ask for it in clear, or bar the address."""
    file = own_cluster.home.postgres_data / "pg_hba.conf"
    before = file.read_text()
    own_cluster.execute("CREATE ROLE trusted LOGIN; CREATE ROLE barred LOGIN")
    own_cluster.execute(f"CREATE ROLE in_clear LOGIN PASSWORD '{PASSWORD}'")
    file.write_text(LOCAL_RULES + before)
    own_cluster.execute("SELECT pg_reload_conf()")
    # The postmaster reads it at the signal; each new login tells.
    wait_for(lambda: lets_in(own_cluster, "trusted"))
    yield own_cluster
    file.write_text(before)
    own_cluster.execute("SELECT pg_reload_conf()")
    own_cluster.execute("DROP ROLE trusted, barred, in_clear")


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def lets_in(cluster, role):
    with contextlib.suppress(Exception), cluster.connect(role, "anything"):
        return True
    return False


def test_a_server_that_checks_no_password_is_no_proof(local_rules):
    with pytest.raises(TargetUnknownError, match="checks no password"):
        tried(local_rules, "trusted")


def test_a_password_never_leaves_in_clear(local_rules):
    with pytest.raises(TargetUnknownError, match="clear text"):
        tried(local_rules, "in_clear")


def test_an_address_that_is_barred_says_nothing_of_the_credential(local_rules):
    assert tried(local_rules, "barred") is Answer.UNKNOWN


@contextlib.contextmanager
def frozen(cluster):
    processes = cluster.processes()
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_a_frozen_server_is_unknown_in_time(own_cluster):
    login = Login("postgres", SecretText(PASSWORD))
    started = time.monotonic()

    with frozen(own_cluster):
        answer = attempt(server_of(own_cluster), login, 0.5)

    assert answer is Answer.UNKNOWN
    assert time.monotonic() - started < 2


@contextlib.contextmanager
def pretender(*chunks, pause=0.0):
    """A server that says this, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    for chunk in chunks:
                        connection.sendall(chunk)
                        time.sleep(pause)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def error(sqlstate, function):
    text = f"SFATAL\0VFATAL\0C{sqlstate}\0Mno\0R{function}\0\0".encode()
    return b"E" + (len(text) + 4).to_bytes(4) + text


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (error("28P01", "auth_failed"), Answer.REFUSED),
        (error("28000", "InitializeSessionUserId"), Answer.REFUSED),
        (error("28000", "ClientAuthentication"), Answer.UNKNOWN),  # pg_hba.conf
        (error("28000", "auth_failed"), Answer.UNKNOWN),  # an LDAP server that is away
        (error("57P03", "ProcessStartupPacket"), Answer.UNKNOWN),
        (error("53300", "InitProcess"), Answer.UNKNOWN),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Answer.UNKNOWN),
        (b"R\0\0\0\x08\0\0\0\x07", Answer.UNKNOWN),  # GSSAPI
        (b"", Answer.UNKNOWN),
    ],
)
def test_only_a_refused_credential_is_refused(cluster, said, answer):
    with pretender(said) as port:
        assert tried(cluster, "app", port=port) is answer


def test_a_server_that_skips_its_own_proof_is_not_believed(cluster):
    granted = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"

    with pretender(granted) as port, pytest.raises(TargetUnknownError):
        tried(cluster, "app", port=port)


def test_a_server_that_trickles_is_cut_off(cluster):
    byte_by_byte = [bytes([byte]) for byte in error("28P01", "auth_failed")]
    started = time.monotonic()

    with pretender(*byte_by_byte, pause=0.05) as port:
        login = Login("app", SecretText(PASSWORD))
        answer = attempt(server_of(cluster, port=port), login, 0.5)
        assert time.monotonic() - started < 1.5

    assert answer is Answer.UNKNOWN
