import json
import os
import re
import subprocess

import pytest
import yaml

# What the dashboard shows of the console's own figures, whatever Django's are.
OURS = re.compile(
    "(backup|health_check|database|failover|replication|recovery|restore|secret|audit)_"
)
KEYWORDS = {"and", "or", "unless"}
# Made by Prometheus itself.
ITS_OWN = {"up", "ALERTS"}


@pytest.fixture(scope="module")
def prometheus(root):
    return root / "deploy/prometheus"


@pytest.fixture(scope="module")
def alerts(prometheus):
    groups = [
        group
        for path in sorted((prometheus / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def panels(root):
    board = json.loads((root / "deploy/grafana/dashboard.json").read_text())
    return board["panels"]


@pytest.fixture(scope="module")
def queries(panels):
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def said(*command):
    """Run a tool and return what it said; its complaints are the test's."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_prometheus_takes_the_configuration_and_finds_every_rule_file(prometheus):
    output = said("promtool", "check", "config", prometheus / "prometheus.yml")

    assert f"{len(list((prometheus / 'rules').glob('*.yml')))} rule files found" in output


def test_the_rules_fire_when_they_should_and_only_then(prometheus):
    said("promtool", "test", "rules", *(prometheus / "tests").glob("*.yml"))


def test_every_alert_is_tested(prometheus, alerts):
    tests = " ".join(path.read_text() for path in (prometheus / "tests").glob("*.yml"))

    assert [alert["alert"] for alert in alerts if alert["alert"] not in tests] == []


def configure(root, **environment):
    """Run `configure.sh` with these variables and no others."""
    return subprocess.run(
        ["sh", root / "deploy/alertmanager/configure.sh"],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


MAIL = {"ALERT_EMAIL_TO": "ops@example.org, o'neil@example.org", "EMAIL_HOST": "mail.example.org"}
# What YAML, sed and the shell would take for something else.
HOSTILE = "a'b\"c: #{d}\\e&f$(id)`id`%s"


@pytest.mark.parametrize(
    "environment",
    [
        MAIL,
        MAIL | {"EMAIL_HOST_USER": "alerts", "EMAIL_HOST_PASSWORD": HOSTILE, "EMAIL_PORT": "587"},
        {"ALERT_WEBHOOK_URL": "https://pager.example.org/hooks/compliance?a='b'"},
        MAIL | {"ALERT_WEBHOOK_URL": "https://pager.example.org/"},
    ],
)
def test_alertmanager_takes_its_configuration(root, environment, tmp_path):
    result = configure(root, **environment)
    (tmp_path / "alertmanager.yml").write_text(result.stdout)

    assert (result.returncode, result.stderr) == (0, "")
    assert "1 receivers" in said("amtool", "check-config", tmp_path / "alertmanager.yml")


def test_whom_the_environment_names_is_told(root):
    result = configure(
        root,
        **MAIL,
        EMAIL_PORT="587",
        EMAIL_USE_TLS="True",
        EMAIL_HOST_USER="alerts",
        EMAIL_HOST_PASSWORD=HOSTILE,
        DEFAULT_FROM_EMAIL="console@example.org",
        ALERT_WEBHOOK_URL="https://pager.example.org/hooks/compliance",
    )

    configuration = yaml.safe_load(result.stdout)
    assert configuration["route"]["receiver"] == "operators"
    assert configuration["receivers"] == [
        {
            "name": "operators",
            "email_configs": [
                {
                    "to": "ops@example.org, o'neil@example.org",
                    "from": "console@example.org",
                    "smarthost": "mail.example.org:587",
                    "auth_username": "alerts",
                    "auth_password": HOSTILE,
                    "require_tls": True,
                    "send_resolved": True,
                }
            ],
            "webhook_configs": [{"url": "https://pager.example.org/hooks/compliance"}],
        }
    ]


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "nobody would be told of alerts; set ALERT_EMAIL_TO or ALERT_WEBHOOK_URL in .env"),
        ({"ALERT_EMAIL_TO": "", "ALERT_WEBHOOK_URL": ""}, "nobody would be told"),
        ({"ALERT_EMAIL_TO": "ops@example.org"}, "needs the mail server; set EMAIL_HOST in .env"),
    ],
)
def test_without_anybody_to_tell_alertmanager_does_not_start(root, environment, complaint):
    result = configure(root, **environment)

    assert result.returncode == 1
    assert result.stdout == ""
    assert complaint in result.stderr


def start(service, root, folder, **environment):
    """Run a service's own command, with Alertmanager's files here and a shell in its place."""
    alertmanager = folder / "alertmanager"
    alertmanager.write_text('#!/bin/sh\necho "$@"\n')
    alertmanager.chmod(0o755)
    (command,) = service["command"]
    command = command.replace("/tmp/", f"{folder}/")
    command = command.replace("/etc/alertmanager", str(root / "deploy/alertmanager"))
    return subprocess.run(
        [*service["entrypoint"], command],
        env={"PATH": f"{folder}:{os.environ['PATH']}"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["alert-receivers", "alertmanager"])
def test_the_services_command_refuses_to_tell_nobody(compose, root, tmp_path, name):
    result = start(compose["services"][name], root, tmp_path)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("alertmanager: nobody would be told of alerts")


def test_the_services_commands_start_alertmanager_with_its_configuration(compose, root, tmp_path):
    services = compose["services"]
    told = {"ALERT_WEBHOOK_URL": "https://pager.example.org/"}

    checked = start(services["alert-receivers"], root, tmp_path, **told)
    started = start(services["alertmanager"], root, tmp_path, **told)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    file = tmp_path / "alertmanager.yml"
    assert started.stdout.split()[0] == f"--config.file={file}"
    assert "1 receivers" in said("amtool", "check-config", file)
    # It may hold the mail server's password.
    assert file.stat().st_mode & 0o777 == 0o600


def test_alertmanager_silences_alerts_that_exist(root, alerts):
    names = {alert["alert"] for alert in alerts}
    text = (root / "deploy/alertmanager/alertmanager.yml").read_text()
    named = re.findall(r'alertname=~?"([^"]+)"', text)

    assert {name for one in named for name in one.split("|")} <= names


def test_every_alert_says_what_is_wrong_and_where_to_read_what_to_do(root, alerts):
    guide = (root / "docs/operator.md").read_text()
    anchors = {f"#{heading.lower()}" for heading in re.findall(r"^#+ Alert: (\w+)$", guide, re.M)}

    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#alert-")
        assert page == "docs/operator.md"
        assert anchor == alert["alert"].lower()
        assert f"#{anchor}" in anchors, alert["alert"]


def test_the_dashboards_queries_are_queries(panels, queries, tmp_path):
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(queries)} rules found" in said("promtool", "check", "rules", file)


def test_the_dashboards_panels_do_not_overlap_and_have_titles(panels):
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        places = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not places & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        assert panel["title"]
        taken |= places
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.django_db
def test_what_is_asked_is_what_the_console_serves(client, alerts, queries):
    answer = client.get("/metrics").content.decode()
    served = set(re.findall(r"^# TYPE (\w+) ", answer, re.M))

    asked = {name for query in (*queries, *exprs(alerts)) for name in names(query)}

    assert "backup_failures_total" in asked & served
    assert asked - served - ITS_OWN == set()


@pytest.mark.django_db
def test_every_figure_of_ours_has_a_panel(client, queries):
    answer = client.get("/metrics").content.decode()
    served = set(re.findall(r"^# TYPE (\w+) ", answer, re.M))

    shown = {name for query in queries for name in names(query)}

    assert {name for name in served if OURS.match(name)} <= shown


def exprs(alerts):
    return [alert["expr"] for alert in alerts]


def names(query):
    """Name the metrics of a query: words that are no function, label, label's value or keyword."""
    bare = re.sub(r"\b(?:by|on) ?\([^)]*\)", "", re.sub(r"\{[^}]*\}|\[[^]]*\]", "", query))
    words = re.findall(r"\b[a-z_]\w+\b(?!\s*\()", bare, re.IGNORECASE)
    return {word for word in words if word not in KEYWORDS}
