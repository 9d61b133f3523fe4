"""Send secrets of every kind to every place of a running console, then look for them everywhere."""

import base64
import json
import os
import random
import string
import subprocess
import sys
from urllib.parse import quote, quote_plus, urlsplit

import httpx
import psycopg
import pytest
import redis
from django.db import connection
from psycopg import sql

from audit.capture.redaction.checksums import is_card_number
from compliance_site.foundation.roles import Role
from tests.conftest import free_port, wait_until_healthy

RANDOM = random.Random(20251109)
ALPHANUMERIC = string.ascii_letters + string.digits


def word(length, signs=ALPHANUMERIC):
    return "".join(RANDOM.choices(signs, k=length))


def card(prefix, length):
    while not is_card_number(number := prefix + word(length - len(prefix), string.digits)):
        pass
    return number


def iban():
    account = word(18, string.digits)
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


def jwt():
    return ".".join([base64_of('{"alg":"HS256"}').rstrip("="), "eyJ" + word(30), word(43)])


# Kind of secret: makes a new secret, and how it is written in a text.
KINDS = {
    "bearer token": (lambda: "b1" + word(30), "Bearer {}"),
    "basic credentials": (lambda: base64_of(f"alice:{word(12)}"), "Basic {}"),
    "API token": (lambda: "t1" + word(38), "Token {}"),
    "own API token": (lambda: "cc_" + word(64, "0123456789abcdef"), "{}"),
    "JWT": (jwt, "{}"),
    "PEM key": (lambda: word(60), "-----BEGIN PRIVATE KEY----- {} -----END PRIVATE KEY-----"),
    "password in a URL": (lambda: word(16), "postgres://bot:{}@db/x"),
    "Visa": (lambda: card("4", 16), "{}"),
    "Mastercard": (lambda: card("53", 16), "{}"),
    "American Express": (lambda: card("37", 15), "{}"),
    "Discover": (lambda: card("6011", 16), "{}"),
    "IBAN": (iban, "{}"),
    "SSN": (
        lambda: f"{RANDOM.randint(100, 600)}-{RANDOM.randint(10, 99)}-{word(4, '123456789')}",
        "{}",
    ),
    "AWS key": (lambda: "AKIA" + word(16, string.ascii_uppercase), "{}"),
    "AWS session key": (lambda: "ASIA" + word(16, string.ascii_uppercase), "{}"),
    "Stripe live key": (lambda: "sk_live_" + word(24), "{}"),
    "Stripe restricted key": (lambda: "rk_live_" + word(24), "{}"),
    "Stripe test key": (lambda: "sk_test_" + word(24), "{}"),
    "GitHub token": (lambda: "ghp_" + word(36), "{}"),
    "GitHub OAuth token": (lambda: "gho_" + word(36), "{}"),
    "GitHub fine-grained token": (lambda: "github_pat_" + word(60), "{}"),
    "GitLab token": (lambda: "glpat-" + word(20), "{}"),
    "Slack token": (lambda: "xoxb-" + word(30), "{}"),
    "Google key": (lambda: "AIza" + word(35), "{}"),
    "npm token": (lambda: "npm_" + word(36), "{}"),
    "PyPI token": (lambda: "pypi-" + word(50), "{}"),
    "SendGrid key": (lambda: f"SG.{word(22)}.{word(43)}", "{}"),
    "model key": (lambda: "sk-proj-9" + word(40), "{}"),
    "Telegram token": (lambda: f"{word(9, '123456789')}:AA{word(33)}", "{}"),
    "password": (lambda: word(14), "password={}"),
    "API key": (lambda: word(32), "api_key: {}"),
    "client secret": (lambda: word(32), '{{"client_secret": "{}"'),
}
assert len(KINDS) >= 25


def event(**fields):
    return {"action": "START", "resource": "/b"} | fields


# Place: the request that carries the text there.
PLACES = {
    "JSON body": lambda text: ("POST", "/leaky/talk", {"json": {"a": [{"note": text}]}}),
    "JSON in JSON": lambda text: ("POST", "/leaky/talk", {"json": {"a": json.dumps({"n": text})}}),
    "form field": lambda text: ("POST", "/leaky/talk", {"data": {"note": text}}),
    "multipart field": lambda text: (
        *("POST", "/leaky/talk"),
        {"data": {"note": text}, "files": {"f": ("t.csv", b"x")}},
    ),
    "query string": lambda text: ("GET", f"/audit/stats?q={quote_plus(text)}", {}),
    "path": lambda text: ("GET", f"/files/{quote(text, safe='')}", {}),
    "user agent": lambda text: ("GET", "/audit/stats", {"headers": {"User-Agent": text}}),
    "referer": lambda text: (
        *("POST", "/leaky/talk"),
        {"headers": {"Referer": f"https://x.example/?q={quote_plus(text)}"}},
    ),
    "cookie": lambda text: ("POST", "/leaky/talk", {"headers": {"Cookie": f"sid={quote(text)}"}}),
    "authorization header": lambda text: (
        *("GET", "/audit/stats"),
        {"headers": {"Authorization": text}},
    ),
    "request id": lambda text: (
        *("GET", "/audit/stats"),
        {"headers": {"X-Request-ID": text.replace(" ", "+")}},
    ),
    "event data": lambda text: ("POST", "/audit/events", {"json": event(requestData={"n": text})}),
    "event text": lambda text: ("POST", "/audit/events", {"json": event(requestData=text)}),
    "event resource": lambda text: (
        "POST",
        "/audit/events",
        {"json": event(resource=f"/x/{text}")},
    ),
    "event query": lambda text: ("POST", "/audit/events", {"json": event(query=f"a={text}")}),
    "event user agent": lambda text: ("POST", "/audit/events", {"json": event(userAgent=text)}),
    "event actor": lambda text: ("POST", "/audit/events", {"json": event(actor=text)}),
    "event id": lambda text: ("POST", "/audit/events", {"json": event(id=text)}),
    "event request id": lambda text: ("POST", "/audit/events", {"json": event(requestId=text)}),
    "exception text": lambda text: ("POST", "/leaky/fail", {"content": text}),
    "look-up": lambda text: ("POST", "/audit/redaction/lookup", {"json": {"value": text}}),
}
assert len(PLACES) >= 12


@pytest.fixture
def leaky_console(committed_db, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"]
    command += ["--port", str(port), "tests.faults.leaky_wsgi:application"]
    with open(tmp_path / "leaky.log", "w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"LOG_LEVEL": "DEBUG"}
        )
    url = f"http://127.0.0.1:{port}"
    assert wait_until_healthy(url, process), (tmp_path / "leaky.log").read_text()
    yield url, tmp_path / "leaky.log"
    process.terminate()
    process.wait(30)


def test_no_secret_reaches_database_log_queue_spool_or_exports(
    leaky_console, committed_db, administrator, settings, make_user, token_of
):
    url, log = leaky_console
    tokens = {
        "/audit/events": token_of(make_user("trading-api", Role.SERVICE)),
        "/audit/redaction/lookup": token_of(make_user("olga", Role.SECURITY_OFFICER)),
    }
    auditor = token_of(make_user("alice", Role.AUDITOR))
    with httpx.Client(base_url=url) as client:
        canaries = send_everywhere(client, tokens, auditor)
        exports = {
            form: client.get(
                f"/audit/export?format={form}", headers={"Authorization": f"Token {auditor}"}
            ).content
            for form in ("csv", "json")
        }

        outputs = exports | {"database": dump(), "Valkey": queue()}
        take_away(committed_db, administrator)
        canaries |= send_everywhere(client, tokens, auditor, title="in an outage: ")
    outputs |= {"log": log.read_bytes(), "spool": settings.AUDIT_SPOOL.read_bytes()}
    leaks = [
        (*where, output, canary)
        for where, canary in canaries.items()
        for output, content in outputs.items()
        if any(form in content for form in forms(canary))
    ]

    sizes = {output: len(content) for output, content in outputs.items()}
    print(f"{len(KINDS)} kinds x {len(PLACES)} places, searched {sizes}: {len(leaks)} leaks")
    assert b"hmac-sha256:1:" in outputs["database"]
    assert b"the exchange refused" in outputs["log"]
    assert min(sizes["csv"], sizes["spool"]) > 100_000
    assert leaks == [], "\n".join(map(str, leaks))


def send_everywhere(client, tokens, auditor, title=""):
    """Send a new secret of each kind to each place; return them by place and kind."""
    canaries = {}
    for place, request in PLACES.items():
        for kind, (make, written) in KINDS.items():
            canary = make()
            canaries[title + place, kind] = canary
            method, address, options = request(written.format(canary))
            own = {"Authorization": f"Token {tokens.get(address, auditor)}"}
            headers = own | options.pop("headers", {})
            client.request(method, address, headers=headers, **options)
    return canaries


def take_away(database, administrator):
    """Let nobody into the database any more, so that entries go to the spool."""
    connection.close()
    administrator(
        f"ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
    )


def forms(canary):
    """Return every form in which the secret could stand there."""
    plain = canary.encode()
    texts = {
        canary,
        plain.hex(),
        quote(canary, safe=""),
        quote_plus(canary),
        json.dumps(canary)[1:-1],
        json.dumps(json.dumps(canary))[3:-3],
    }
    # Base64 of a longer text shows the secret at one of three offsets; its ends depend on the rest.
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + plain).decode().rstrip("=")
        texts.add(encoded[4 if offset else 0 : -2])
    return [text.encode() for text in texts]


def dump():
    """Return every row of every table as the administrator sees it."""
    name = urlsplit(os.environ["DATABASE_URL"]).path
    admin = urlsplit(os.environ["DATABASE_ADMIN_URL"])._replace(path=name).geturl()
    tables = """
        SELECT schemaname, tablename FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    """
    with psycopg.connect(admin) as connection:
        rows = [
            text
            for schema, table in connection.execute(tables).fetchall()
            for (text,) in connection.execute(
                sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table))
            )
        ]
    return "\n".join(rows).encode()


def queue():
    """Return all keys of the queue with their contents, as Valkey itself writes them."""
    with redis.from_url(os.environ["REDIS_URL"]) as client:
        return b"\n".join(key + (client.dump(key) or b"") for key in client.scan_iter())
