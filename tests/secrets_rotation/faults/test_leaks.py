"""Rotate with markers for values, well and badly, then look for them wherever they could be."""

import json
import signal
import stat
from collections import Counter
from itertools import product

import pytest

from tests.faults.harness import signal_all
from tests.secrets_rotation.faults.leaky_console import LeakyConsole, Watch
from tests.secrets_rotation.faults.leaky_mistakes import ask_badly, rotate_badly
from tests.secrets_rotation.faults.leaky_rotations import (
    Marks,
    add_consumers,
    add_secrets,
    adopt,
    break_down,
    rotate,
    rotate_well,
)
from tests.secrets_rotation.faults.sweep import forms, pieces, search, table, written


@pytest.fixture
def marks():
    return Marks()


@pytest.fixture
def leaky_console(programs):
    console = LeakyConsole(programs)
    yield console
    console.remove()


def test_no_secret_of_a_rotation_is_anywhere_but_where_it_belongs(leaky_console, marks, tmp_path):
    console = leaky_console
    with Watch(console):
        ids = add_secrets(console, marks)
        add_consumers(console, marks, ids)
        rotate_well(console, marks)
        rotate_badly(console, marks)
        adopt(console, marks)
        ask_badly(console, marks, ids)
        break_down(console, marks)
        frozen = console.freeze_worker()
        # The frozen worker had asked for the first message already.
        for name in ("hook", "db"):
            value = marks.new("while the worker is away")
            assert rotate(console, name, newValue=value).is_success
        places = console.collect()
        signal_all(frozen, signal.SIGCONT)
    places |= {path.name: path for path in console.places.iterdir()}
    generated = values_of(console) - marks.kinds.keys()
    marks.kinds |= dict.fromkeys(generated, "generated")

    hits = by_place(search(marks.kinds, console.folder, *places.values()), places)
    kinds = sorted(set(marks.kinds.values()))
    print(f"{len(marks.kinds)} secrets, {len(generated)} of them generated")
    print(table(hits, kinds, sorted(places)))
    assert_looked_at_something(console, places)
    assert_delivered(console, marks)
    assert_found_in_every_form(marks, tmp_path)
    assert not hits, dict(hits)


def values_of(console):
    """Return what the console made, as its targets and consumers know it."""
    bodies = [json.loads(each.body)["data"] for each in console.receiver.received]
    sent = [each for body in bodies for each in (body, body.get("previous", body))]
    calls = [*console.keys.received, *console.broken_keys.received]
    tried = {each.headers["authorization"][7:] for each in calls if each.path == "/me"}
    return {each["value"] for each in sent} | tried | set(console.told.read_text().split())


def by_place(hits, places):
    """Count the hits by the innermost place that each file is in."""
    found = Counter()
    for (path, kind), count in hits.items():
        names = [name for name, place in places.items() if path.startswith(str(place))]
        found[max(names, key=lambda name: len(str(places[name])), default=path), kind] += count
    return found


def assert_looked_at_something(console, places):
    seen = {
        name: path.read_text(errors="replace") for name, path in places.items() if path.is_file()
    }
    assert "INSERT INTO public.secrets_rotation_version_value" in seen["console dump"]
    assert 'ALTER ROLE "sweep_app"' in seen["PostgreSQL's log"]
    assert 'ALTER ROLE "sweep_app"' in seen["statistics"]
    assert "secrets_rotation.deliver_due" in seen["Valkey keys"]
    assert "/hooks/hook" in seen["proc cmdline"]
    assert "LEAKY_TOLD" in seen["proc environ"]
    assert "/secrets/rotation/runs/1 200" in seen["API reads"]
    assert "/admin/audit/auditlog/ 200" in seen["admin pages"]
    assert "rotation" in seen["notices"]
    logs = "".join(path.read_text() for path in places["log files"].iterdir())
    messages = b"".join(path.read_bytes() for path in places["Valkey's files"].rglob("*.aof"))
    assert b"secrets_rotation.advance" in messages
    assert "the rotator broke" in logs
    assert "UnforeseenError: " in logs
    assert "SecretText(…)" in logs
    assert "Credential(" in logs


def assert_delivered(console, marks):
    """The search finds what was delivered, where only the owner reads it."""
    found = {kind for _, kind in search(marks.kinds, console.delivered)}
    assert {"supplied and accepted", "generated", "adopted"} <= found
    files = [path for path in console.delivered.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def assert_found_in_every_form(marks, folder):
    """The search finds each secret in each form, or nothing found would say nothing."""
    kinds = {}
    for number, (secret, kind) in enumerate(marks.kinds.items()):
        for piece, form in product(pieces(secret), forms("")):
            file = folder / f"{number} {len(piece)} {form}"
            file.write_text(written(piece, form))
            kinds[str(file), kind] = 1
    assert search(marks.kinds, folder).keys() == kinds.keys()
