import os
import signal
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import RequestFactory

from audit.capture import writer
from audit.models import AuditLog
from compliance_site.foundation import maintenance

HOLD = """
import sys, django
from django.conf import settings
from pathlib import Path
settings.configure(RECOVERY_FOLDER=Path(sys.argv[1]), TEMPLATES=[])
from compliance_site.foundation import maintenance
with maintenance.begin():
    print("on", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    return settings.RECOVERY_FOLDER


def test_the_flag_is_up_for_as_long_as_the_block(folder):
    assert not maintenance.is_on()
    with maintenance.begin():
        assert maintenance.is_on()

    assert not maintenance.is_on()
    assert list(folder.iterdir()) == []


def test_a_killed_holder_leaves_no_maintenance_behind(folder):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "on\n"
        assert maintenance.is_on()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(10)

    assert not maintenance.is_on()
    with maintenance.begin():
        assert maintenance.is_on()


def test_a_flag_that_is_a_link_is_none(folder, tmp_path):
    folder.mkdir()
    with maintenance.begin():
        os.rename(folder / "maintenance", tmp_path / "elsewhere")
        (folder / "maintenance").symlink_to(tmp_path / "elsewhere")

        assert not maintenance.is_on()


@pytest.mark.django_db
def test_the_api_answers_503_in_its_error_shape_and_says_when_to_come_back(client):
    with maintenance.begin():
        answer = client.get("/audit/logs")

    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert answer.json()["error"]["code"] == "maintenance"


@pytest.mark.django_db
def test_a_browser_gets_a_page_without_a_query(client, django_assert_num_queries):
    request = RequestFactory().get("/admin/")
    with maintenance.begin(), django_assert_num_queries(0):
        answer = maintenance.maintenance_middleware(lambda request: HttpResponse("served"))(request)

    assert answer.status_code == 503
    assert "The console is in maintenance" in answer.content.decode()


@pytest.mark.django_db
def test_probes_and_files_go_on(client):
    with maintenance.begin():
        assert client.get("/health").status_code == 200
        ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["status"] == "maintenance"


@pytest.mark.django_db
def test_asynchronous_servers_answer_the_same():
    @async_to_sync
    async def get():
        async def view(request):
            return HttpResponse("served")

        serve = maintenance.maintenance_middleware(view)
        return await serve(RequestFactory().get("/audit/logs"))

    with maintenance.begin():
        assert get().status_code == 503
    assert get().content == b"served"


def test_entries_of_the_maintenance_wait_for_the_database_that_comes_after(committed_db, client):
    with maintenance.begin():
        assert client.get("/audit/logs").status_code == 503
        writer.close()
        assert not AuditLog.objects.filter(resource="/audit/logs").exists()

    writer.replay_spool()
    assert AuditLog.objects.get(resource="/audit/logs").status_code == 503
