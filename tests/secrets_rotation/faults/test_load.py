"""An application under constant load, with a pool on a pair of roles, through ten rotations.

It reads its credential from the `.env` file that the console delivers, opens a new pool when
that changes, and acknowledges. No query may fail, and no session of an old role stay.
"""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from django.db import connections
from psycopg_pool import ConnectionPool, PoolClosed

from audit.capture.actors import Actor, acting_as
from secrets_rotation.delivery import consumers, outbox
from secrets_rotation.models import Run, RunState, Trigger, VersionState
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from secrets_rotation.runs.work import credential_of

ROTATIONS = 10
THREADS = 4
PATIENCE = 30


class Application:
    """Queries as fast as it can from several threads; reloads when its `.env` file changes."""

    def __init__(self, target, path, acknowledge):
        self.target, self.path, self.acknowledge = target, path, acknowledge
        self.queries, self.failures, self.served = 0, [], set()
        self.stop = threading.Event()
        self.text = path.read_text()
        self.pool = self.pool_of(self.text)
        self.counting = threading.Lock()

    def pool_of(self, text):
        values = dict(line.split("=", 1) for line in text.splitlines())
        settings = {
            "host": self.target["host"],
            "port": self.target["port"],
            "dbname": "postgres",
            "user": values["DB_USER"],
            "password": values["DB_PASSWORD"],
            "sslmode": "disable",
            "autocommit": True,
        }
        pool = ConnectionPool(kwargs=settings, min_size=THREADS, max_size=THREADS, open=True)
        pool.wait()
        return pool

    def query(self):
        while not self.stop.is_set():
            pool = self.pool
            try:
                with pool.connection() as connection:
                    (user,) = connection.execute("SELECT session_user").fetchone()
            except PoolClosed:
                # Swapped out between the two lines above; nothing was asked yet.
                continue
            except psycopg.Error as exc:
                self.failures.append(str(exc))
                continue
            with self.counting:
                self.queries += 1
                self.served.add(user)

    def reload(self):
        while not self.stop.is_set():
            text = self.path.read_text()
            if text != self.text:
                old, self.pool, self.text = self.pool, self.pool_of(text), text
                # What is out comes back before its connection is closed.
                old.close(timeout=PATIENCE)
                self.acknowledge()
            time.sleep(0.01)

    @contextmanager
    def under_load(self):
        workers = [threading.Thread(target=self.query) for _ in range(THREADS)]
        workers.append(threading.Thread(target=self.reload))
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self.stop.set()
            for worker in workers:
                worker.join(PATIENCE)
            self.pool.close()


def carry_on(run, state):
    """Carry the run on, again and again, until it is in the state."""
    deadline = time.monotonic() + PATIENCE
    while run.state != state and time.monotonic() < deadline:
        Run.objects.filter(pk=run.pk).update(next_attempt_at=run.started_at)
        machine.advance(run.pk)
        outbox.deliver_due()
        run.refresh_from_db()
    assert run.state == state, run.reason


def test_no_query_fails_through_ten_rotations(
    postgresql_pair_secret, postgresql, tmp_path, settings, monkeypatch
):
    secret = postgresql_pair_secret
    settings.DELIVERY_FOLDER = tmp_path
    monkeypatch.setattr(outbox.current_app, "send_task", lambda *_, **__: None)
    secret.override.grace = timedelta(hours=1)
    secret.override.save()
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    destination = {"path": "app.env", "variable": "DB_PASSWORD", "usernameVariable": "DB_USER"}
    consumer = consumers.register(secret, "app", "env_file", destination)
    outbox.deliver_due()

    def acknowledge():
        try:
            with acting_as(Actor("service", "app")):
                current = secret.versions.get(state=VersionState.CURRENT)
                consumers.acknowledge(consumer, current.number, Actor("service", "app"))
        finally:
            connections.close_all()

    application = Application(postgresql, tmp_path / "app.env", acknowledge)
    with application.under_load():
        for _ in range(ROTATIONS):
            old = credential_of(secret.versions.get(state=VersionState.CURRENT))
            run = start(secret, trigger=Trigger.MANUAL)
            carry_on(run, RunState.REVOKED)
            assert run.steps.filter(text="All consumers use the new version.").exists()
            assert rotator_of(secret).in_use(old) == []

    print(
        f"{ROTATIONS} rotations under load: {application.queries} queries as "
        f"{len(application.served)} roles, {len(application.failures)} failed"
    )
    assert application.failures == []
    assert len(application.served) == 2
    assert application.queries > 100 * ROTATIONS
