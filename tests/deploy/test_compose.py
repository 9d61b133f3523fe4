import ast
import re
import shlex
from ipaddress import ip_address, ip_network

import pytest
import yaml
from celery.app.utils import find_app

# As the user guide's commands name them.
REQUIRED = {"backend", "celery-worker", "celery-beat", "postgres", "redis"}
# Settings that a container does not take from .env, and why.
NOT_PASSED = {
    "AUDIT_SPOOL": "set in the image, to a volume of its own",
    "BACKUP_DATABASES": "known to recovery only",
    "BACKUP_IDENTITY": "known to recovery only",
    "COMPLIANCE_ENV": "the image is a production image",
    "COMPLIANCE_MASTER_KEY_FILE": "the key itself is in .env",
    "DATABASE_ADMIN_URL": "known to migrate, recovery and wal-receiver only",
    "DATABASE_OWNER_URL": "known to migrate only",
    "DEBUG": "refused in production",
    "DELIVERY_FOLDER": "a folder has to be mounted first",
    "LOG_DIR": "containers write to standard output",
    "LOG_PROCESS": "named per service",
    "PGBACKREST_CONFIG": "a folder has to be mounted first",
    "PGBACKREST_STANZA": "of no use without the folder",
    "POSTGRESQL_PROGRAMS": "set in the image",
    "RECOVERY_ENGINE": "of no use without a mounted folder",
    "RECOVERY_FOLDER": "set in the image, to a volume of its own",
    "STATIC_ROOT": "filled when the image is built",
}


@pytest.fixture(scope="session")
def services(compose):
    return compose["services"]


@pytest.fixture(scope="session")
def consoles(services):
    """The services that run our image."""
    return {name: service for name, service in services.items() if "build" in service}


def test_the_services_have_the_user_guides_names(services):
    assert services.keys() >= REQUIRED
    assert services["postgres"]["environment"].items() >= {
        ("POSTGRES_USER", "abtuser"),
        ("POSTGRES_DB", "abtpro_db"),
    }


def test_services_depend_on_services_that_exist_and_can_become_what_is_waited_for(services):
    for service in services.values():
        for name, dependency in service.get("depends_on", {}).items():
            waited_for = services[name]
            if dependency["condition"] == "service_completed_successfully":
                assert waited_for["restart"] == "no"
            else:
                assert waited_for["healthcheck"]["test"]


def test_every_service_has_a_health_check_or_ends(services):
    for name, service in services.items():
        assert service.get("restart") == "no" or service["healthcheck"]["test"], name


def test_the_consoles_services_have_as_few_rights_as_possible(consoles):
    assert len(consoles) == 6
    for service in consoles.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "user" not in service, "the image's own"


def test_no_service_is_privileged_or_can_become_so(services):
    for service in services.values():
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "docker.sock" not in str(service.get("volumes"))


def test_images_have_a_tag(services):
    for service in services.values():
        assert re.fullmatch(r"[a-z/-]+:v?[0-9][0-9.]*", service["image"])


def test_ports_are_open_to_this_machine_only(services):
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published == [
        "127.0.0.1:${PORT:-8000}:8000",
        "127.0.0.1:9090:9090",
        "127.0.0.1:9093:9093",
    ]


def test_files_that_are_named_exist(root, services, compose):
    for service in services.values():
        if "build" in service:
            assert (root / service["build"] / "Dockerfile").is_file()
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (root / source).exists()


def test_secrets_are_required_and_have_no_default(root):
    variables = dict(
        re.findall(r"\$\{([A-Z_]+)([^}]*)\}", (root / "docker-compose.yml").read_text())
    )

    assert {name for name, rest in variables.items() if rest.startswith(":-")} == {
        "BACKUP_DATABASE_NAMES",
        "BACKUP_STORAGE_PATH",
        "HEALTH_DETAIL_NETWORKS",
        "PORT",
        "WEB_THREADS",
    }
    assert all(rest.startswith((":?", ":-")) for rest in variables.values())


def test_every_credential_is_known_to_those_who_need_it_only(services):
    def knowing(variable):
        return {name for name, service in services.items() if variable in str(service)}

    assert knowing("DATABASE_OWNER_URL") == {"migrate"}
    assert knowing("DATABASE_ADMIN_URL") == {"migrate", "recovery", "wal-receiver"}
    assert knowing("BACKUP_IDENTITY") == {"recovery"}
    assert knowing("BACKUP_DATABASES") == {"recovery"}
    assert knowing("POSTGRES_PASSWORD") == {"postgres"}


def test_exactly_one_address_may_read_metrics_from_outside(compose, services):
    (pool,) = compose["networks"]["monitoring"]["ipam"]["config"]
    address = ip_address(services["prometheus"]["networks"]["monitoring"]["ipv4_address"])
    *_, allowed = services["backend"]["environment"]["HEALTH_DETAIL_NETWORKS"].split(",")

    assert services["prometheus"]["networks"].keys() == {"monitoring"}
    assert allowed == str(address)
    assert address in ip_network(pool["subnet"])
    # Nobody else is given it, and it is not that of what comes through a published port.
    assert address not in ip_network(pool["ip_range"])
    assert str(address) != pool["gateway"]


def test_prometheus_asks_a_service_by_a_name_that_the_console_answers_to(root, services):
    scraped = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    (console,) = scraped["scrape_configs"]
    (alertmanagers,) = scraped["alerting"]["alertmanagers"]

    assert console["static_configs"] == [{"targets": ["backend:8000"]}]
    assert alertmanagers["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert services["backend"]["environment"]["ALLOWED_HOSTS"].endswith(",backend")
    assert "monitoring" in services["backend"]["networks"]
    assert services["alertmanager"]["networks"] == ["monitoring"]


def test_monitoring_starts_only_when_somebody_would_be_told(root, services):
    monitoring = {
        name for name, each in services.items() if "monitoring" in each.get("profiles", ())
    }
    check, alertmanager = services["alert-receivers"], services["alertmanager"]

    assert monitoring == {"prometheus", "alertmanager", "alert-receivers"}
    for name in monitoring - {"alert-receivers"}:
        assert services[name]["depends_on"] == {
            "alert-receivers": {"condition": "service_completed_successfully"}
        }
    assert (check["image"], check["environment"]) == (
        alertmanager["image"],
        alertmanager["environment"],
    )
    script = re.findall(r"/etc/alertmanager(/\S+)", " ".join(check["command"]))
    assert [(root / f"deploy/alertmanager{name}").is_file() for name in script] == [True]
    read = set(
        re.findall(
            r"\$\{?([A-Z]+_[A-Z_]+)", (root / "deploy/alertmanager/configure.sh").read_text()
        )
    )
    assert alertmanager["environment"].keys() == read


def test_the_queue_of_recovery_has_one_worker_with_its_volumes(services):
    assert "recovery" in services["recovery"]["command"]
    assert {"backups:/backups", "recovery:/recovery"} <= set(services["recovery"]["volumes"])
    assert "--queues" not in services["celery-worker"]["command"]


def test_the_receiver_of_log_runs_when_asked_for_and_writes_where_base_backups_go(services, root):
    receiver = services["wal-receiver"]
    folder = "wal-archive:/wal-archive"

    assert receiver["profiles"] == ["point-in-time"]
    assert receiver["command"] == ["python", "manage.py", "wal_archive", "run"]
    assert receiver["volumes"] == [folder]
    assert folder in services["recovery"]["volumes"]
    # The web server only looks.
    assert f"{folder}:ro" in services["backend"]["volumes"]
    # A new volume gets the owner that the image's folder has.
    (made,) = re.findall(
        r"install --directory --owner=console .*", (root / "Dockerfile").read_text()
    )
    assert "/wal-archive" in made.split()


def test_every_setting_reaches_the_containers_or_has_a_reason_not_to(root, consoles):
    settings = (root / "compliance_site/settings.py").read_text()
    names = {
        node.args[0].value
        for node in ast.walk(ast.parse(settings))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.startswith("env_")
    }

    for service in consoles.values():
        assert names - service["environment"].keys() <= NOT_PASSED.keys()
    assert NOT_PASSED.keys() <= names


@pytest.mark.parametrize(
    ("service", "subcommand"),
    [("celery-worker", "worker"), ("recovery", "worker"), ("celery-beat", "beat")],
)
def test_celery_is_started_with_an_application_that_exists(services, service, subcommand):
    command = services[service]["command"]

    assert command[0] == "celery"
    assert subcommand in command
    assert find_app(command[command.index("--app") + 1]).main == "compliance_site"


def test_migrate_runs_commands_that_exist(services):
    from django.core.management import get_commands

    words = shlex.split(services["migrate"]["command"][2])
    commands = [words[at + 1] for at, word in enumerate(words) if word == "manage.py"]

    assert commands == ["provision_database", "migrate"]
    assert set(commands) <= get_commands().keys()


def test_passwords_are_never_arguments(services):
    for service in services.values():
        arguments = " ".join(
            [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        )
        # Of the shell's own text `$$NAME` stays a name: the shell fills it in inside the container.
        assert not re.search(r"(?<!\$)\$\{", arguments)
        assert "--requirepass" not in arguments
