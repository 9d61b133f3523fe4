"""Rotations with markers for values and credentials, of every rotator and by every way in."""

import secrets
import time

from tests.secrets_rotation.rotators.key_server import ADMIN

ROTATE = "/secrets/rotation/rotate"
# Signs that are written otherwise in JSON, in URLs and in base64 for URLs.
SIGNS = '~/+"&%<'
BREAKS = ("in_a_local", "in_its_text", "in_its_cause", "in_a_note", "in_a_group")
ENDED = "SELECT count(*) FROM secrets_rotation_run WHERE state NOT IN ('REVOKED', 'ROLLED_BACK')"
UNDELIVERED = "SELECT count(*) FROM secrets_rotation_delivery WHERE state = 'waiting'"


class Marks:
    """The secrets of the test, each with its kind."""

    def __init__(self):
        self.kinds = {}

    def new(self, kind, prefix="Mk", signs=SIGNS):
        return self.add(kind, f"{prefix}{secrets.token_hex(9)}{signs}{secrets.token_hex(9)}")

    def add(self, kind, secret):
        self.kinds[secret] = kind
        return secret


def add_secrets(console, marks):
    """Add a secret for each rotator, every credential of which is a marker."""
    for role in ("sweep_admin", "sweep_app"):
        console.execute("CREATE ROLE {} LOGIN", role)
    console.execute("ALTER ROLE {} SUPERUSER", "sweep_admin")
    password = marks.new("admin password")
    console.set_password("sweep_admin", marks.new("admin password of later"))
    url = console.endpoints.admin_url
    port = int(url.rpartition(":")[2].partition("/")[0])
    server = {"host": "127.0.0.1", "port": port, "sslmode": "disable", "username": "sweep_app"}
    targets = {
        "db": ("postgresql_role", server | {"adminUser": "sweep_admin", "adminPassword": password}),
        "api": ("http_api", api_target(console.keys.url, marks.add("API token", ADMIN))),
        "away": ("http_api", api_target(console.broken_keys.url, ADMIN)),
        "hook": (
            "command_hook",
            {
                "command": [str(console.hooks / "hook"), str(console.outside / "store")],
                "credentials": {"admin": marks.new("credential of a hook")},
            },
        ),
        "person": ("supplied", {}),
    }
    targets |= {
        name: (
            "leaky",
            {"breaks": name, "adminPassword": marks.new("admin password of a broken one")},
        )
        for name in BREAKS
    }
    ids = {name: add(console, name, *target) for name, target in targets.items()}
    (later,) = [mark for mark, kind in marks.kinds.items() if kind.endswith("of later")]
    changed = server | {"adminUser": "sweep_admin", "adminPassword": later}
    assert console.ask("PATCH", f"/secrets/{ids['db']}", json={"target": changed}).is_success
    return ids


def api_target(url, token):
    admin = {"Authorization": "Bearer {admin_token}"}
    return {
        "create": {
            "method": "POST",
            "url": f"{url}/keys",
            "headers": admin,
            "json": {"name": "key-{version}", "secret": "{value}"},
        },
        "verify": {"url": f"{url}/me", "headers": {"Authorization": "Bearer {value}"}},
        "revoke": {"method": "DELETE", "url": f"{url}/keys/key-{{version}}", "headers": admin},
        "credentials": {"admin_token": token},
    }


def add(console, name, rotator, target):
    body = {"secretType": "DATABASE", "secretName": name, "rotator": rotator, "target": target}
    answer = console.ask("POST", "/secrets", json=body | {"policy": {"gracePeriodDays": 0}})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def add_consumers(console, marks, ids):
    webhook = {
        "url": console.receiver.url,
        "signingKey": marks.new("signing key"),
        "previous": True,
    }
    for name in ("db", "api", "hook", "person", "away"):
        for delivery, destination in (
            ("file", {"path": f"{name}.json", "format": "json", "previous": True}),
            ("file", {"path": f"{name}.txt"}),
            ("env_file", {"path": ".env", "variable": name.upper()}),
            ("webhook", webhook),
        ):
            body = {"name": f"{delivery} {len(destination)}", "delivery": delivery}
            body["destination"] = destination
            answer = console.ask("POST", f"/secrets/{ids[name]}/consumers", json=body)
            assert answer.status_code == 201, answer.text


def rotate(console, name, **options):
    client = options.pop("client", None)
    body = {"secretType": "DATABASE", "secretName": name} | options
    return console.ask("POST", ROTATE, client, json=body)


def rotate_well(console, marks):
    for name in ("db", "api", "hook"):
        assert rotate(console, name).is_success
    settle(console)
    for name in ("db", "api", "hook", "person"):
        supplied = marks.new("supplied and accepted")
        assert rotate(console, name, newValue=supplied).is_success
        settle(console)
        assert rotate(console, name, newValue=supplied).json()["error"]["code"] == "value_reuse"
    for name in ("db", "api", "hook"):
        assert rotate(console, name).is_success
        settle(console)


def settle(console):
    console.wait_for(UNDELIVERED, [(0,)])
    console.wait_for(ENDED, [(0,)])


def adopt(console, marks):
    """Let a run come to the point where a person brings what the target accepts."""
    console.broken_keys.broken = 500
    assert rotate(console, "away").status_code == 202
    run = console.execute("SELECT max(id) FROM secrets_rotation_run")[0][0]
    console.send_task("secrets_rotation.advance", run)
    console.wait_for(f"SELECT state FROM secrets_rotation_run WHERE id = {run}", [("ATTENTION",)])
    path = f"/secrets/rotation/runs/{run}/adopt"
    console.ask("POST", path, json={"newValue": [marks.new("adopted wrongly")]})
    console.ask("POST", path, content=f'{{"newValue": "{marks.new("adopted wrongly")}')
    console.broken_keys.broken = None
    value = marks.new("adopted")
    console.broken_keys.keys["key"] = value
    assert console.ask("POST", path, json={"newValue": value}).is_success
    settle(console)


def break_down(console, marks):
    """Let a rotator break that holds the value: in a request, and in the worker."""
    for name in BREAKS:
        supplied = marks.new(f"broken {name}")
        assert rotate(console, name, newValue=supplied).status_code == 202
        run = console.execute("SELECT max(id) FROM secrets_rotation_run")[0][0]
        console.send_task("secrets_rotation.advance", run)
    console.send_task("notices.send_waiting")
    deadline = time.monotonic() + 60
    while len(console.told.read_text().split()) < 2 * len(BREAKS) or not console.notices.received:
        assert time.monotonic() < deadline
        time.sleep(0.1)
