"""P14: `/health/detailed` asked by 200 clients at once while PostgreSQL or Valkey is frozen.

Frozen by SIGSTOP: it accepts and never answers. Each round asks after the last answer has grown
old, half of the clients with a token; what is kept is the 99th percentile of the round's answers.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench.console import MeasuredConsole, console
from bench.result import report_time
from compliance_site.foundation.embedded import postgres, valkey
from compliance_site.foundation.embedded.home import find_home

CLIENTS = 200
ROUNDS = 5
# An answer is good for two seconds.
STALE_SECONDS = 2.1
FROZEN = {"postgres": (postgres.find, "database"), "valkey": (valkey.find, "redis")}
ASKED = re.compile(r'^health_probes_total\{component="(\w+)"\} ([\d.]+)$', re.MULTILINE)


@contextmanager
def frozen(measured: MeasuredConsole, service: str) -> Iterator[None]:
    home = find_home(Path(measured.environment["COMPLIANCE_VAR_DIR"]))
    found = FROZEN[service][0](home) if home else None
    assert found is not None, "the console runs on it"
    processes = [found, *found.children(recursive=True)]
    _send(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(processes, signal.SIGCONT)


def _send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


async def seconds_of_answers(url: str, token: str) -> list[float]:
    """Ask with all clients at once; return how long each waited, in order."""
    asking = [_ask(url, token if number % 2 else "") for number in range(CLIENTS)]
    return sorted(await asyncio.gather(*asking))


async def _ask(url: str, token: str) -> float:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    credentials = f"Authorization: Token {token}\r\n" if token else ""
    head = f"GET /health/detailed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{credentials}"
    writer.write(f"{head}\r\n".encode())
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 503"):
        sys.exit(f"Not what a frozen part is answered by: {answer[:60]!r}")
    return time.perf_counter() - began


def probes(url: str, component: str) -> int:
    """Return how often a part was really asked."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        counts = dict(ASKED.findall(answer.read().decode()))
    return int(float(counts[component]))


def main() -> None:
    with console(HEALTH_DETAIL_NETWORKS="127.0.0.0/8") as measured:
        (token,) = re.findall(
            r"cc_\w+", measured.manage("issue_token", "bench", "--role", "operator")
        )
        for service, (_, component) in FROZEN.items():
            rounds = []
            for _ in range(ROUNDS):
                before = probes(measured.url, component)
                with frozen(measured, service):
                    time.sleep(STALE_SECONDS)
                    waited = asyncio.run(seconds_of_answers(measured.url, token))
                asked = probes(measured.url, component) - before
                if asked != 1:
                    sys.exit(f"{component} was asked {asked} times in one round.")
                rounds.append(waited[CLIENTS * 99 // 100 - 1])
            report_time(
                f"health-{service}-frozen",
                rounds,
                target="p99 <= 2 s, one probe per component",
                rows=CLIENTS,
            )


if __name__ == "__main__":
    main()
