"""P2: events accepted by `POST /audit/events` against `COPY` of the same rows.

One sender with one connection on either side, batches of 1,000, each batch committed. The
rows that `COPY` writes are those that the console made of the same events.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench.console import MeasuredConsole, console
from bench.result import Pair, report

PAIRS = 7
BATCH = 1_000
BATCHES = 10
STRATEGIES = ("RSI_CROSS", "MEAN_REVERSION", "BREAKOUT")
COLUMNS = (
    "created_at, occurred_at, source, event_id, request_id, actor_type, user_id, actor, action, "
    "resource, route, query, method, status_code, duration_ms, ip_address, user_agent, "
    "request_data, details"
)

Rows = list[tuple[Any, ...]]


def event(number: int) -> dict[str, object]:
    """Make a call as a trading backend reports it, a secret in its body included."""
    return {
        "id": uuid.uuid4().hex,
        "source": "bench",
        "occurredAt": "2025-11-09T10:29:59.512Z",
        "userId": number % 500 + 1,
        "actor": f"trader-{number % 500}",
        "action": "CREATE",
        "resource": f"/bot/{number % 200}/orders",
        "route": "/bot/{id}/orders",
        "method": "POST",
        "statusCode": 201,
        "ipAddress": f"10.0.{number % 250}.7",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) TradingApp/4.2",
        "requestData": {
            "strategy": STRATEGIES[number % 3],
            "symbol": "BTC-USD",
            "quantity": number / 8,
            "limit": {"price": 68_250.5, "timeInForce": "GTC"},
            "apiKey": f"key-{number}",
        },
        "requestId": uuid.uuid4().hex,
        "durationMs": number % 90,
    }


class Sender:
    """One service with one connection that stays open."""

    def __init__(self, measured: MeasuredConsole) -> None:
        token = measured.manage("issue_token", "bench", "--role", "service")
        self._headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(urlsplit(measured.url).netloc, timeout=60)

    def post(self, body: bytes) -> None:
        self._connection.request("POST", "/audit/events", body, self._headers)
        answer = json.loads(self._connection.getresponse().read())
        if answer.get("accepted") != BATCH:
            raise SystemExit(f"The console did not accept the batch: {answer}")


def rows_of_last_batch(database: psycopg.Connection[Any]) -> Rows:
    return database.execute(
        f"SELECT {COLUMNS} FROM audit_log WHERE source = 'bench' ORDER BY id DESC LIMIT {BATCH}"
    ).fetchall()


def copy_rows(database: psycopg.Connection[Any], rows: Rows) -> None:
    statement = f"COPY audit_log ({COLUMNS}) FROM STDIN"
    with database.transaction(), database.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def rate(work: Callable[[], None]) -> float:
    """Return rows a second."""
    started = time.perf_counter()
    for _ in range(BATCHES):
        work()
    return BATCH * BATCHES / (time.perf_counter() - started)


def measure_pair(sender: Sender, database: psycopg.Connection[Any]) -> Pair:
    # Made beforehand: what a sender does to make its body is not the console's work.
    bodies = [
        json.dumps({"events": [event(number) for number in range(BATCH)]}).encode()
        for _ in range(BATCHES)
    ]
    ours = rate(lambda: sender.post(bodies.pop()))
    rows = rows_of_last_batch(database)
    return Pair(ours, rate(lambda: copy_rows(database, rows)))


def main() -> None:
    with console(AUDIT_INGEST_EVENTS_PER_MINUTE="100000000") as measured:
        sender = Sender(measured)
        with psycopg.connect(measured.endpoints.database_url, autocommit=True) as database:
            measure_pair(sender, database)  # caches fill, partitions are seen
            pairs = [measure_pair(sender, database) for _ in range(PAIRS)]
    report(
        "ingest",
        pairs,
        unit="events/s accepted over rows/s of COPY",
        target=">= 0.50",
        rows=BATCH * BATCHES,
    )


if __name__ == "__main__":
    main()
