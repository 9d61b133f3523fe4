"""What fails for real is told to whom the settings name, and that it is mended, too."""

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from django.utils import timezone

from recovery.models import Backup, BackupState
from secrets_rotation.models import Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from tests.faults.monitoring import (
    DEPLOY,
    WebServer,
    alertmanager,
    manage,
    prometheus,
    until,
)
from tests.local_servers import HttpServer, SmtpServer, serving
from tests.secrets_rotation.conftest import _somebody_acts, make_secret  # noqa: F401

# They need a base backup, a limit of what slots keep, a restore.
MAY_BE_EMPTY = {"recovery_point_age_seconds", "replication_slot_safe_bytes", "restore_last_"}


@pytest.fixture
def web(committed_db, tmp_path, monkeypatch):
    """The console's web server, and a store for backups that is none."""
    (tmp_path / "store").write_text("A file, where a folder should be.")
    monkeypatch.setenv("BACKUP_STORAGE_PATH", str(tmp_path / "store"))
    monkeypatch.setenv("RECOVERY_FOLDER", str(tmp_path / "recovery"))
    server = WebServer(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def token(committed_db):
    return manage("issue_token", "prometheus", "--role", "operator").stdout.strip()


class Told(HttpServer):
    """Who is told of alerts, and remembers them."""

    def __init__(self):
        super().__init__(lambda received: (200, {}, b""))

    def alerts(self):
        return [each for one in list(self.received) for each in json.loads(one.body)["alerts"]]

    def wait(self, name, status, *, after=0, **labels):
        """Return the first alert of this name and status, after so many, that arrives soon."""
        return until(
            lambda: next(
                (
                    alert
                    for alert in self.alerts()[after:]
                    if (alert["labels"]["alertname"], alert["status"]) == (name, status)
                    and labels.items() <= alert["labels"].items()
                ),
                None,
            ),
            lambda: f"{name} {status} did not arrive: {self.alerts()}",
        )


class Mailbox(SmtpServer):
    def subjects(self):
        return " ".join(mail["Subject"] for mail in list(self.mails))


def test_what_fails_is_told_and_so_is_that_it_is_mended(web, token, tmp_path):
    with (
        serving(Told()) as told,
        serving(Mailbox()) as mailbox,
        alertmanager(
            tmp_path,
            ALERT_WEBHOOK_URL=told.url,
            ALERT_EMAIL_TO="operators@example.org",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=str(mailbox.port),
        ) as alerts,
        prometheus(
            tmp_path, console=urlsplit(web.url).netloc, token=token, alertmanager=alerts
        ) as monitor,
    ):
        assert httpx.get(f"{web.url}/metrics").status_code == 401
        # As docs/operator.md tries it out.
        added = ("amtool", "alert", "add", "Try", "severity=warning")
        subprocess.run([*added, f"--alertmanager.url=http://{alerts}"], check=True)
        told.wait("Try", "firing", severity="warning")

        until(lambda: monitor.query("backup_failures_total == 0"), "nothing was scraped")
        assert manage("backup", "create").returncode == 1
        failed = told.wait("BackupFailed", "firing", database="console")
        told.wait("BackupTooOld", "firing", database="console")

        (tmp_path / "store").unlink()
        (tmp_path / "store").mkdir()
        assert manage("backup", "create").returncode == 0
        told.wait("BackupTooOld", "resolved", database="console")

        before = len(told.alerts())
        web.kill()
        told.wait("ConsoleDown", "firing", after=before, severity="critical")
        until(lambda: state_of("HealthUnknown", alerts) == "suppressed", "it is not held back")
        web.start()
        told.wait("ConsoleDown", "resolved", after=before)
        for subject in ("[FIRING:1] ConsoleDown", "[RESOLVED] ConsoleDown"):
            until(lambda subject=subject: subject in mailbox.subjects(), mailbox.subjects)

    assert failed["annotations"]["summary"] == "A backup of console failed"
    assert failed["annotations"]["runbook_url"] == "docs/operator.md#alert-backupfailed"
    assert "HealthUnknown" not in {each["labels"]["alertname"] for each in told.alerts()[before:]}


def state_of(name, alerts):
    found = httpx.get(f"http://{alerts}/api/v2/alerts", timeout=30).json()
    states = {each["labels"]["alertname"]: each["status"]["state"] for each in found}
    return states.get(name)


@pytest.fixture
def history(committed_db, make_secret, administrator):  # noqa: F811
    """Something for every panel to show."""
    now = timezone.now()
    for number, state in enumerate((BackupState.STORED, BackupState.FAILED)):
        Backup.objects.create(
            id=f"20261123T02000{number}Z-abcdef",
            database="console",
            state=state,
            started_at=now - timedelta(hours=1),
            finished_at=now,
            verified_at=now if state == BackupState.STORED else None,
            size_bytes=1000,
            manifest={},
            actor_type="task",
        )
    secret = make_secret()
    for _ in range(2):
        machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    administrator(f"SELECT pg_create_physical_replication_slot('{committed_db}', true)")
    yield
    administrator(f"SELECT pg_drop_replication_slot('{committed_db}')")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    (tmp_path / "wal").mkdir()
    monkeypatch.setenv("WAL_ARCHIVE_PATH", str(tmp_path / "wal"))


@pytest.mark.usefixtures("history", "archive")
def test_every_panel_shows_something_and_every_rule_is_evaluated(token, web, tmp_path):
    with prometheus(tmp_path, console=urlsplit(web.url).netloc, token=token) as monitor:

        def shown():
            httpx.get(f"{web.url}/audit/logs")
            return {panel: monitor.query(panel.query) for panel in panels()}

        def empty():
            found = {panel.query for panel, result in shown().items() if not result}
            return {query for query in found if not any(name in query for name in MAY_BE_EMPTY)}

        until(lambda: not empty(), lambda: f"no data: {empty()}")
        until(
            lambda: all(rule["health"] == "ok" for rule in rules(monitor)), lambda: rules(monitor)
        )

        for panel, result in shown().items():
            for series in result:
                assert panel.labels <= series["metric"].keys(), panel


@dataclass(frozen=True)
class Panel:
    query: str
    # Which its legend names.
    labels: frozenset


def panels():
    board = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    targets = [target for panel in board["panels"] for target in panel.get("targets", ())]
    return {
        Panel(target["expr"], frozenset(re.findall(r"{{(\w+)}}", target["legendFormat"])))
        for target in targets
    }


def rules(monitor):
    return [rule for group in monitor.ask("rules")["groups"] for rule in group["rules"]]
