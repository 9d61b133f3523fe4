"""Console, example backend and traffic together: `make demo`, or `python -m examples.demo`.

A console that already answers on PORT is used as it is; otherwise one is started. Both run
on until Ctrl-C, so that every page has something true to show. With `--once` everything
stops after the traffic.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from examples.demo_traffic import drive

MANAGE = (sys.executable, str(Path(__file__).resolve().parent.parent / "manage.py"))
PATIENCE_SECONDS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="trading requests (300)")
    parser.add_argument("--seed", type=int, default=7, help="the same seed, the same traffic (7)")
    parser.add_argument("--once", action="store_true", help="stop after the traffic")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    console_url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
    trading_url = f"http://127.0.0.1:{os.environ.get('TRADING_PORT', '8100')}"
    with suppress(KeyboardInterrupt), console(console_url), trading_api(trading_url, console_url):
        auditor = issue_token("demo-auditor", "auditor")
        summary = drive(
            trading_url, console_url, auditor, requests=options.requests, seed=options.seed
        )
        say(f"\n{summary}\n\nSee what was recorded: {console_url}/admin/audit/auditlog/")
        if not options.once:
            say("Console and example run on until Ctrl-C.")
            signal.pause()


@contextmanager
def console(url: str) -> Iterator[None]:
    """Use the console at the URL, starting it when none answers."""
    if answers(url):
        yield
        return
    with child([*MANAGE, "run_console"], {}) as process:
        wait_for(url, process)
        yield


@contextmanager
def trading_api(url: str, console_url: str) -> Iterator[None]:
    environment = {
        "COMPLIANCE_URL": console_url,
        "COMPLIANCE_TOKEN": issue_token("trading-api", "service"),
        "PORT": url.rpartition(":")[2],
    }
    with child([sys.executable, "-m", "examples.trading_api"], environment) as process:
        wait_for(url, process)
        yield


@contextmanager
def child(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; in a session of its own, so that we stop it."""
    process = subprocess.Popen(  # noqa: S603 - our own programs
        command, env=os.environ | environment, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def issue_token(username: str, role: str) -> str:
    command = [*MANAGE, "issue_token", username, "--role", role]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return answer.stdout.strip()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; exit when its process ends or it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answers(url):
        if process.poll() is not None:
            sys.exit(f"demo: {url} did not start; see the messages above.")
        if time.monotonic() > deadline:
            sys.exit(f"demo: {url} did not answer within {PATIENCE_SECONDS} s.")
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.TransportError:
        return False


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program for the terminal


if __name__ == "__main__":
    main()
