import contextlib
import itertools
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.utils import timezone

from compliance_site.foundation.embedded import ports
from compliance_site.foundation.embedded.binaries import install
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.valkey_acl import ValkeyAcl
from tests.secrets_rotation.rotators.conftest import Lease, built, credential
from tests.secrets_rotation.rotators.test_postgresql_probe import wait_for

DOCS = Path(__file__).resolve().parents[3] / "docs"
ADMIN_PASSWORD = "the-Administrators.own"
OLD, NEW = credential("the-Old.password-1"), credential("the-New.password-2", version_id=2)


@dataclass
class Server:
    """A Valkey of the test's own, on the ACL file or configuration file in its folder."""

    program: Path
    folder: Path
    port: int
    process: subprocess.Popen | None = None

    def start(self):
        configuration = self.folder / "valkey.conf"
        command = [self.program]
        if configuration.exists():
            command.append(configuration)
        command += ["--port", str(self.port), "--bind", ports.HOST, "--save", ""]
        command += ["--dir", self.folder]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self.answers)

    def answers(self):
        with contextlib.suppress(redis.ConnectionError), self.admin() as admin:
            return admin.ping()
        return False

    def stop(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.stop()
        self.start()

    def admin(self, password=ADMIN_PASSWORD):
        return self.connected("default", password)

    def connected(self, username, password, **options):
        return redis.Redis(
            host=ports.HOST,
            port=self.port,
            username=username,
            password=password,
            decode_responses=True,
            single_connection_client=True,
            **options,
        )

    @property
    def target(self):
        password = SecretText(ADMIN_PASSWORD)
        return {"host": ports.HOST, "port": self.port, "adminPassword": password, "username": "app"}


@pytest.fixture
def make_server(programs, tmp_path):
    servers = []

    def make(configuration, **files):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        if configuration is not None:
            (folder / "valkey.conf").write_text(configuration)
        server = Server(install(programs).valkey, folder, ports.choose())
        server.start()
        servers.append(server)
        with server.admin() as admin:
            admin.execute_command(
                "ACL", "SETUSER", "app", "on", ">" + OLD.value.reveal(), "~*", "+@all"
            )
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def server(make_server):
    users = f"user default on >{ADMIN_PASSWORD} ~* &* +@all\n"
    return make_server("aclfile users.acl\n", **{"users.acl": users})


@pytest.fixture
def rotator(server):
    return built(ValkeyAcl, server.target)


def hashes(server):
    with server.admin() as admin:
        return sorted(admin.acl_getuser("app")["passwords"])


def test_both_passwords_work_until_the_old_one_is_revoked(rotator):
    for _ in range(2):
        rotator.set(NEW, OLD, Lease())
        assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.WORKS] * 2

    for _ in range(2):
        rotator.revoke(OLD, NEW, Lease())
        assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.REFUSED, Answer.WORKS]


def test_discarding_takes_the_pending_password_back(rotator):
    rotator.set(NEW, OLD, Lease())

    for _ in range(2):
        rotator.discard(NEW, OLD, Lease())
        assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.WORKS, Answer.REFUSED]


def test_a_password_of_any_signs_works(rotator):
    odd = credential("Grüße 🔑\r\n\"quotes' >#!")

    rotator.set(odd, OLD, Lease())

    assert rotator.probe(odd) is Answer.WORKS


def test_a_restart_keeps_what_was_set_and_what_was_removed(server, rotator):
    rotator.set(NEW, OLD, Lease())
    server.restart()
    assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.WORKS] * 2

    rotator.revoke(OLD, NEW, Lease())
    server.restart()
    assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.REFUSED, Answer.WORKS]


def test_without_an_acl_file_the_configuration_file_keeps_it(make_server):
    server = make_server(f"requirepass {ADMIN_PASSWORD}\n")
    rotator = built(ValkeyAcl, server.target)

    rotator.set(NEW, OLD, Lease())
    server.restart()

    assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.WORKS] * 2


@pytest.fixture
def forgetful(make_server, monkeypatch):
    """A server without any file to keep a password in."""
    monkeypatch.setattr(Server, "admin", lambda self: self.connected(None, None))
    server = make_server(None)
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "admin", "on", f">{ADMIN_PASSWORD}", "+@all")
    return server


def test_a_server_that_would_forget_is_not_changed(forgetful):
    rotator = built(ValkeyAcl, forgetful.target | {"adminUser": "admin"})

    with pytest.raises(TargetUnknownError, match="a restart would lose the password"):
        rotator.set(NEW, OLD, Lease())

    assert len(hashes(forgetful)) == 1


def test_an_acl_file_that_cannot_be_written_changes_nothing(server, rotator):
    (server.folder / "users.acl").unlink()
    (server.folder / "users.acl").mkdir()

    with pytest.raises(TargetUnknownError, match="cannot write its ACL file"):
        rotator.set(NEW, OLD, Lease())

    assert len(hashes(server)) == 1


def test_a_change_that_does_not_reach_the_disk_is_undone(server, rotator):
    def full_disk(number):
        if number == 2:
            (server.folder / "users.acl").unlink()
            (server.folder / "users.acl").mkdir()

    with pytest.raises(TargetUnknownError, match="refused a command"):
        rotator.set(NEW, OLD, Lease(meanwhile=full_disk))

    assert len(hashes(server)) == 1


@pytest.mark.parametrize("confirmation", [1, 2])
def test_a_lost_lease_changes_nothing(server, rotator, confirmation):
    before = hashes(server)

    with pytest.raises(LeaseLostError):
        rotator.set(NEW, OLD, Lease(lost_at=confirmation))

    assert hashes(server) == before


def test_the_last_password_that_works_is_never_removed(server, rotator):
    before = hashes(server)

    with pytest.raises(TargetUnknownError, match="does not have the password that is to stay"):
        rotator.revoke(OLD, NEW, Lease())
    with pytest.raises(TargetUnknownError, match="the one to stay"):
        rotator.revoke(OLD, credential(OLD.value.reveal()), Lease())

    assert hashes(server) == before


def test_a_user_who_needs_no_password_proves_nothing(server, rotator):
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "app", "nopass")

    for call in (lambda: rotator.probe(NEW), lambda: rotator.set(NEW, OLD, Lease())):
        with pytest.raises(TargetUnknownError, match="any password"):
            call()


def test_a_user_who_is_not_there_is_not_made(server):
    rotator = built(ValkeyAcl, server.target | {"username": "nobody"})

    with pytest.raises(TargetUnknownError, match="there is no user nobody"):
        rotator.set(NEW, OLD, Lease())

    with server.admin() as admin:
        assert "nobody" not in admin.acl_users()


def test_a_user_who_is_switched_off_is_refused(server, rotator):
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "app", "off")

    assert rotator.probe(OLD) is Answer.REFUSED


@pytest.mark.django_db
def test_old_sessions_are_seen_and_ended_and_new_ones_survive(server, rotator):
    with server.connected("app", OLD.value.reveal(), client_name="shop") as old_session:
        old_session.ping()
        rotator.set(NEW, OLD, Lease())
        # Ages are whole seconds there.
        wait_for(lambda: old_age(server) >= 4)
        old = credential(OLD.value.reveal(), superseded_at=timezone.now() - timedelta(seconds=2.5))
        with server.connected("app", NEW.value.reveal(), client_name="new") as new_session:
            new_session.ping()
            (usage,) = rotator.in_use(old)
            assert usage.who.startswith("shop from 127.0.0.1:")
            assert usage.since < old.superseded_at

            rotator.revoke(old, NEW, Lease())

            assert rotator.in_use(old) == []
            assert [session["name"] for session in sessions(server)] == ["new"]


@pytest.mark.django_db
def test_all_sessions_end_where_that_is_asked_for(server):
    rotator = built(ValkeyAcl, server.target | {"endAllSessions": True})
    with server.connected("app", OLD.value.reveal()) as session:
        session.ping()
        rotator.set(NEW, OLD, Lease())
        old = credential(OLD.value.reveal(), superseded_at=timezone.now() - timedelta(days=1))
        assert len(sessions(server)) == 1

        rotator.revoke(old, NEW, Lease())

        assert sessions(server) == []

    # What connects again does not keep the rotation from being done.
    with server.connected("app", NEW.value.reveal()) as session:
        session.ping()
        assert rotator.in_use(old) == []


def sessions(server):
    with server.admin() as admin:
        return [each for each in admin.client_list() if each["user"] == "app"]


def old_age(server):
    return max(int(session["age"]) for session in sessions(server))


def test_a_server_that_is_away_is_unknown_and_says_so(server, rotator):
    server.stop()

    assert rotator.probe(OLD) is Answer.UNKNOWN
    with pytest.raises(TargetUnknownError, match=r"no answer from 127.0.0.1:\d+ \(Connection"):
        rotator.set(NEW, OLD, Lease())


def test_a_frozen_server_is_unknown_in_time(server, rotator):
    started = time.monotonic()
    server.process.send_signal(signal.SIGSTOP)

    answer = rotator.probe(OLD)
    with pytest.raises(TargetUnknownError, match="no answer"):
        rotator.set(NEW, OLD, Lease(5))

    assert answer is Answer.UNKNOWN
    assert time.monotonic() - started < 7


def test_a_frozen_server_does_not_outlive_the_lease(server, rotator):
    lease = Lease(
        8, meanwhile=lambda n: server.process.send_signal(signal.SIGSTOP) if n == 2 else None
    )

    with pytest.raises(TargetUnknownError, match="no answer"):
        rotator.set(NEW, OLD, lease)

    assert lease.seconds_left() > 0


def test_errors_hold_no_hash_and_no_value(server):
    refused = built(ValkeyAcl, server.target | {"adminPassword": SecretText("wrong")})
    with server.admin() as admin:
        rules = ("on", ">its-Own.password", "+auth", "+acl|getuser", "+acl|save", "+multi", "+exec")
        admin.execute_command("ACL", "SETUSER", "weak", *rules)
    weak = SecretText("its-Own.password")
    forbidden = built(ValkeyAcl, server.target | {"adminUser": "weak", "adminPassword": weak})
    reasons = []

    for rotator in (refused, forbidden):
        with pytest.raises(TargetUnknownError) as raised:
            rotator.set(NEW, OLD, Lease())
        assert raised.value.__suppress_context__
        reasons.append(raised.value.reason)

    assert reasons == [
        "the server refuses the credential of default",
        "weak may not do that (NOPERM)",
    ]


def test_the_server_never_sees_a_password_but_at_a_login(server, rotator):
    with server.admin() as admin, admin.monitor() as monitor:
        rotator.set(NEW, OLD, Lease())
        rotator.revoke(OLD, NEW, Lease())
        with server.admin() as other:
            other.echo("the end")
        commands = (command["command"] for command in monitor.listen())
        seen = list(itertools.takewhile(lambda command: "the end" not in command, commands))

    assert seen
    assert not any(each.value.reveal() in command for each in (OLD, NEW) for command in seen)
    log = (server.folder / "log").read_text() + (server.folder / "users.acl").read_text()
    assert NEW.value.reveal() not in log


@pytest.mark.django_db
def test_the_documented_administrator_has_the_rights_it_needs(server):
    documented = (DOCS / "security-officer.md").read_text()
    (command,) = re.findall(r"ACL SETUSER rotation .*", documented)
    with server.admin() as admin:
        admin.execute_command(*command.replace(">...", ">its-Own.password").split(" "))
    target = server.target | {"adminUser": "rotation"}
    rotator = built(ValkeyAcl, target | {"adminPassword": SecretText("its-Own.password")})

    with server.connected("app", OLD.value.reveal()) as session:
        session.ping()
        rotator.set(NEW, OLD, Lease())
        old = credential(OLD.value.reveal(), superseded_at=timezone.now())
        rotator.revoke(old, NEW, Lease())
        assert sessions(server) == []

    assert [rotator.probe(each) for each in (OLD, NEW)] == [Answer.REFUSED, Answer.WORKS]


@pytest.fixture
def tls_port(server, certificate):
    """A port on which the server speaks TLS: the program itself is built without it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    listener = socket.create_server((ports.HOST, 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                outside, _ = listener.accept()
                threading.Thread(target=serve, args=[outside]).start()

    def serve(outside):
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(outside, server_side=True) as safe,
            socket.create_connection((ports.HOST, server.port)) as inside,
        ):
            back = threading.Thread(target=pass_on, args=[inside, safe])
            back.start()
            pass_on(safe, inside)
            back.join()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def pass_on(source, sink):
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)


def test_the_server_is_verified_through_tls(server, tls_port, certificate):
    target = server.target | {"port": tls_port, "tls": True}
    trusting = built(ValkeyAcl, target | {"caFile": str(certificate.certificate)})
    stranger = built(ValkeyAcl, target)

    trusting.set(NEW, OLD, Lease())

    assert trusting.probe(NEW) is Answer.WORKS
    assert stranger.probe(NEW) is Answer.UNKNOWN
    elsewhere = built(ValkeyAcl, trusting.target | {"host": "localhost"})
    assert elsewhere.probe(NEW) is Answer.UNKNOWN  # the certificate is the address's


def test_settings_that_cannot_work_are_named(rotator):
    target = rotator.target

    assert ValkeyAcl.problems(target) == {}
    assert ValkeyAcl.problems(target | {"port": 70000, "username": "a b"}).keys() == {
        "port",
        "username",
    }
    assert ValkeyAcl.problems(target | {"username": "default"}).keys() == {"username"}
    assert rotator.principal() == f"valkey://127.0.0.1:{target['port']}/app"
