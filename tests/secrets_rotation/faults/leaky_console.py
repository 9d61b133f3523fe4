"""A whole console that logs all it can, with targets and receivers around it, to be searched."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import redis
from celery import Celery
from psycopg import sql

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded.home import find_home
from tests.compliance_site.test_refusals import ALL
from tests.faults.harness import MANAGE, WholeConsole, command_of, signal_all
from tests.local_servers import HttpServer, serving
from tests.secrets_rotation.rotators.conftest import LOGGED
from tests.secrets_rotation.rotators.key_server import KeyServer

# A target that is a file of valid values, one a line; it refuses what begins with "Refuse".
HOOK = """#!/usr/bin/env python3
import json, pathlib, sys, time

time.sleep(0.2)
verb, store = sys.argv[-1], pathlib.Path(sys.argv[1])
value = json.load(sys.stdin)["secret"]["value"]
values = store.read_text().split() if store.exists() else []
print("set", value, file=sys.stderr)
if verb == "verify":
    sys.exit(0 if value in values else 10)
if value.startswith("Refuse"):
    sys.exit(11)
store.write_text("\\n".join([each for each in values if each != value] + [value] * (verb == "set")))
"""
STUCK = "SELECT secret_id, state, reason FROM secrets_rotation_run WHERE ended_at IS NULL"
ADMIN_PASSWORD = "the administrator of this test"
MOST_IDS = 16


class LeakyConsole(WholeConsole):
    """Its folders: `outside` is where values are allowed, all others are searched."""

    def __init__(self, programs):
        self.outside = Path(tempfile.mkdtemp(prefix="compliance-outside-"))
        self.hooks, self.delivered = self.outside / "hooks", self.outside / "delivered"
        self.told = self.outside / "told"
        for folder in (self.hooks, self.delivered):
            folder.mkdir()
        (self.hooks / "hook").write_text(HOOK)
        (self.hooks / "hook").chmod(0o755)
        self.told.touch()
        self.running = ExitStack()
        self.receiver = self.running.enter_context(serving(HttpServer(lambda _: (204, {}, b""))))
        self.notices = self.running.enter_context(serving(HttpServer(lambda _: (204, {}, b""))))
        self.keys = self.running.enter_context(serving(KeyServer()))
        self.broken_keys = self.running.enter_context(serving(KeyServer()))
        super().__init__(
            DJANGO_SETTINGS_MODULE="tests.secrets_rotation.faults.leaky_settings",
            COMPLIANCE_ADMIN_PASSWORD=ADMIN_PASSWORD,
            DELIVERY_FOLDER=str(self.delivered),
            ROTATION_HOOK_FOLDER=str(self.hooks),
            ROTATION_ATTEMPTS="1",
            LEAKY_TOLD=str(self.told),
            NOTICE_WEBHOOK_URL=self.notices.url,
            NOTICE_WEBHOOK_SECRET="a key by which notices are signed",
            LOG_LEVEL="DEBUG",
        )
        self.logs, self.places = self.folder / "logs", self.folder / "places"
        self.logs.mkdir()
        self.places.mkdir()
        self.environment["LOG_DIR"] = str(self.logs)
        services = embedded.running(self.var, postgres_options=LOGGED, binaries=programs)
        self.endpoints = self.running.enter_context(services)
        self.start()
        self.execute("CREATE EXTENSION pg_stat_statements")
        self.officer = self.signed_in("security_officer")
        self.answers = []

    def remove(self):
        self.running.close()
        super().remove()
        shutil.rmtree(self.outside)

    def signed_in(self, role):
        command = [sys.executable, MANAGE, "issue_token", f"a-{role}", "--role", role]
        issued = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        )
        return self.client(Authorization=f"Token {issued.stdout.split()[-1]}")

    def client(self, **headers):
        url = f"http://127.0.0.1:{self.port}"
        return self.running.enter_context(httpx.Client(base_url=url, headers=headers, timeout=60))

    def ask(self, method, path, client=None, **options):
        """Make a request and remember its answer."""
        if "json" in options:
            # As bytes: a lone surrogate is escaped, where httpx would refuse it.
            options["content"] = json.dumps(options.pop("json")).encode()
            options["headers"] = options.get("headers", {}) | {"Content-Type": "application/json"}
        answer = (client or self.officer).request(method, path, **options)
        self.answers.append(
            f"{method} {path.partition('?')[0]} {answer.status_code} {answer.headers} {answer.text}"
        )
        return answer

    def execute(self, statement, *names):
        with self.connect() as connection:
            identifiers = [sql.Identifier(name) for name in names]
            cursor = connection.execute(sql.SQL(statement).format(*identifiers))
            return cursor.fetchall() if cursor.description else None

    def set_password(self, role, password):
        """Set a role's password as its administrator would, without telling the server."""
        with self.connect() as connection:
            verifier = connection.pgconn.encrypt_password(
                password.encode(), role.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(verifier.decode())
                )
            )

    def send_task(self, name, *arguments):
        with Celery(broker=self.endpoints.redis_url, set_as_current=False) as celery:
            celery.send_task(name, arguments)

    def wait_for(self, statement, expected):
        deadline = time.monotonic() + 30
        while (found := self.execute(statement)) != expected:
            assert time.monotonic() < deadline, (statement, found, self.execute(STUCK))
            time.sleep(0.1)

    def freeze_worker(self):
        """Stop the worker where it is, so that messages stay in the queue; return its processes."""
        ours = psutil.Process(self.supervisor.pid).children(recursive=True)
        worker = [each for each in ours if " worker " in command_of(each)]
        signal_all(worker, signal.SIGSTOP)
        return worker

    def collect(self):
        """Write down what can only be asked for; return all that is to be searched, by its name."""
        pages = self.browser()
        api = [address for address in ALL if not address.startswith("/admin/")]
        admin = [address for address in ALL if address.startswith("/admin/")]
        self.write("API reads", *self.read_all(self.officer, [*api, "/audit/logs?limit=100"]))
        self.write(
            "API reads",
            *self.read_all(pages, [f"/audit/export?format={each}" for each in ("csv", "json")]),
        )
        self.write("admin pages", *self.read_all(pages, admin))
        self.write("metrics", *self.read_all(pages, ["/metrics"]))
        self.write("API answers", *self.answers)
        self.write("statistics", *self.execute("SELECT query FROM pg_stat_statements"))
        self.write("notices", *(each.body.decode() for each in self.notices.received))
        self.write("console dump", self.dump())
        home = find_home(self.var)
        with redis.from_url(self.endpoints.redis_url) as valkey:
            # Compressed, nothing could be found in it.
            valkey.config_set("rdbcompression", "no")
            valkey.save()
            contents = [(key, content_of(valkey, key)) for key in valkey.scan_iter()]
        self.write("Valkey keys", *contents)
        return {
            "log files": self.logs,
            "standard output": self.folder / "console.log",
            "PostgreSQL's log": home.path / "postgres.log",
            "PostgreSQL's files": home.postgres_data,
            "Valkey's log": home.path / "valkey.log",
            "Valkey's files": home.valkey_data,
            "spool and the like": self.var,
        } | {path.name: path for path in self.places.iterdir()}

    def browser(self):
        """Return a browser in which the administrator is signed in."""
        client = self.client()
        client.get("/admin/login/")
        form = {"username": "admin", "password": ADMIN_PASSWORD, "next": "/admin/"}
        form["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
        assert client.post("/admin/login/", data=form).status_code == 302
        return client

    def read_all(self, client, addresses):
        """Read every address, with each of the first ids where it has one."""
        for address in addresses:
            ids = range(1, MOST_IDS) if "/1" in address else (1,)
            for number in ids:
                answer = client.get(address.replace("/1", f"/{number}"), follow_redirects=True)
                yield f"{address} {answer.status_code}\n{answer.text}"

    def dump(self):
        program = embedded.postgres_programs(self.var) / "pg_dump"
        url = self.endpoints.admin_url.rpartition("/")[0] + "/abtpro_db"
        dumped = subprocess.run(
            [program, "--inserts", "--dbname", url], capture_output=True, text=True, check=True
        )
        return dumped.stdout

    def write(self, place, *texts):
        with open(self.places / place, "a") as file:
            file.writelines(f"{text}\n" for text in texts)


def content_of(valkey, key):
    read = {
        b"list": lambda: valkey.lrange(key, 0, -1),
        b"hash": lambda: valkey.hgetall(key),
        b"set": lambda: valkey.smembers(key),
        b"zset": lambda: valkey.zrange(key, 0, -1, withscores=True),
        b"string": lambda: valkey.get(key),
    }
    return read[valkey.type(key)]()


class Watch:
    """Looks at the arguments and the environment of every process there is, all the time."""

    def __init__(self, console):
        self.console = console
        self.seen = {"cmdline": set(), "environ": set()}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        self.thread.join()
        for kind, contents in self.seen.items():
            texts = [content.replace(b"\0", b" ").decode(errors="replace") for content in contents]
            self.console.write(f"proc {kind}", *texts)

    def look(self):
        while not self.stopping.wait(0.02):
            for kind, contents in self.seen.items():
                for path in Path("/proc").glob(f"[0-9]*/{kind}"):
                    # It has ended meanwhile.
                    with suppress(OSError):
                        contents.add(path.read_bytes())
