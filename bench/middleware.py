"""P1: requests/s with capture, entry durable before the answer, against the same without.

Two views, an empty one and one with a query, at 32 and at 128 clients (`wrk`). Beside the
console's middleware, in the same run, the same application under django-easy-audit (a row
for each request) and django-auditlog (which records no request, only sets an actor).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.console import MeasuredConsole, console, manage, served
from bench.result import Pair, report

PAIRS = 5
SECONDS = 3
# Four servers share the database: their threads together stay below its connections.
THREADS = 16
TARGETS = {
    ("query", 128): ">= 0.90",
    ("query", 32): ">= 0.75",
    ("empty", 128): ">= 0.70",
    ("empty", 32): ">= 0.50",
}
CAPTURES = ("console", "easyaudit", "auditlog")


def requests_per_second(url: str, clients: int) -> float:
    """Load one address and return the rate; every answer must be a good one."""
    command = ["wrk", "--threads", "1", "--connections", str(clients)]
    command += ["--duration", f"{SECONDS}s", "--timeout", "10s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{url} at {clients} clients: {said}")
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    return float(rate)


@contextmanager
def under(measured: MeasuredConsole, capture: str) -> Iterator[str]:
    """Serve the two views under one capture."""
    environment = measured.environment | {
        "DJANGO_SETTINGS_MODULE": "bench.web_settings",
        "BENCH_CAPTURE": capture,
        "AUDIT_SPOOL": f"{measured.environment['COMPLIANCE_VAR_DIR']}/spool-{capture}",
    }
    manage(environment, "migrate", "--verbosity", "0")
    with served(environment, THREADS, path="/empty") as url:
        yield url


def measure(urls: dict[str, str], view: str, clients: int) -> dict[str, list[Pair]]:
    """Measure each capture against none, one pair after the other in turn."""
    pairs: dict[str, list[Pair]] = {capture: [] for capture in CAPTURES}
    for capture in CAPTURES:
        requests_per_second(f"{urls[capture]}/{view}", clients)  # warm
    for _ in range(PAIRS):
        for capture in CAPTURES:
            reference = requests_per_second(f"{urls['none']}/{view}", clients)
            ours = requests_per_second(f"{urls[capture]}/{view}", clients)
            pairs[capture].append(Pair(ours, reference))
    return pairs


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("This measurement needs wrk (Debian: apt-get install wrk).")
    with console() as measured, ExitStack() as servers:
        urls = {
            capture: servers.enter_context(under(measured, capture))
            for capture in ("none", *CAPTURES)
        }
        for (view, clients), target in TARGETS.items():
            for capture, pairs in measure(urls, view, clients).items():
                report(
                    f"middleware-{view}-{clients}-{capture}",
                    pairs,
                    unit="requests/s with capture over without",
                    target=target if capture == "console" else "-",
                    rows=0,
                )


if __name__ == "__main__":
    main()
