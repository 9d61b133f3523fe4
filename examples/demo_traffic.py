"""Drive believable traffic: traders use the trading API, an auditor reads the console.

    AUDITOR_TOKEN=... python -m examples.demo_traffic --requests 300

`TRADING_URL` and `COMPLIANCE_URL` name the two servers when they are not on their usual ports.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from examples.trading_api.state import CURRENCIES, STRATEGIES, THEMES, USERS, User

USER_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 ABTPro/3.2",
    "abtpro-cli/1.9 python-httpx",
)
UNREACHABLE = "unreachable"
# One console request on this many trading requests.
AUDIT_EVERY = 25
PROGRESS_EVERY = 20


@dataclass(frozen=True)
class TrafficSummary:
    """How many requests of each kind were made, and how they were answered by status."""

    kinds: Mapping[str, int]
    trading_answers: Mapping[str, int]
    console_answers: Mapping[str, int]

    def __str__(self) -> str:
        return "\n".join(
            f"{title:<8} " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            for title, counts in (
                ("requests", self.kinds),
                ("trading", self.trading_answers),
                ("console", self.console_answers),
            )
        )


class Server:
    """A server under traffic; counts its answers and outlives its absence."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self._client = httpx.Client(base_url=url, timeout=10)

    def call(self, method: str, path: str, **options: object) -> httpx.Response | None:
        """Return the answer, None when there is no server."""
        try:
            response = self._client.request(method, path, **options)  # type: ignore[arg-type]
        except httpx.TransportError:
            self.answers[UNREACHABLE] += 1
            return None
        self.answers[str(response.status_code)] += 1
        return response

    def close(self) -> None:
        self._client.close()


class Traders:
    """The users of the trading API, one random step at a time."""

    def __init__(self, api: Server, randomly: random.Random) -> None:
        self.kinds: Counter[str] = Counter()
        self._api = api
        self._random = randomly
        self._running_bots: list[tuple[User, int]] = []
        self._weights: dict[Callable[[User], None], int] = {
            self._read_pnl: 30,
            self._start_bot: 12,
            self._stop_bot: 8,
            self._read_order: 12,
            self._log_in: 8,
            self._log_out: 4,
            self._fail_to_log_in: 4,
            self._read_preferences: 6,
            self._change_preferences: 6,
            self._pay: 8,
            self._ask_for_nothing_there: 2,
            self._come_without_token: 2,
        }

    def step(self) -> None:
        """Make one request."""
        [act] = self._random.choices(list(self._weights), list(self._weights.values()))
        self.kinds[act.__name__.strip("_")] += 1
        act(self._random.choice(USERS))

    def _call(
        self, user: User, method: str, path: str, json: object = None
    ) -> httpx.Response | None:
        headers = {
            "Authorization": f"Bearer {user.demo_token}",
            "User-Agent": USER_AGENTS[user.id % len(USER_AGENTS)],
        }
        return self._api.call(method, path, headers=headers, json=json)

    def _log_in(self, user: User) -> None:
        body = {"username": user.name, "password": user.demo_password}
        self._api.call("POST", "/login", json=body)

    def _fail_to_log_in(self, user: User) -> None:
        name = self._random.choice((user.name, "admin", "root"))
        self._api.call("POST", "/login", json={"username": name, "password": "Summer2025!"})

    def _log_out(self, user: User) -> None:
        self._call(user, "POST", "/logout")

    def _read_pnl(self, user: User) -> None:
        self._call(user, "GET", "/dashboard/pnl")

    def _start_bot(self, user: User) -> None:
        body = {
            "strategy": self._random.choice((*STRATEGIES, "YOLO")),
            "symbol": self._random.choice(("BTC-EUR", "ETH-EUR", "SOL-USD")),
            "exchange": {"name": "kraken", "apiKey": f"demo-{self._random.getrandbits(64):x}"},
        }
        answer = self._call(user, "POST", "/bot/start", body)
        if answer is not None and answer.is_success:
            self._running_bots.append((user, answer.json()["botId"]))

    def _stop_bot(self, user: User) -> None:
        if not self._running_bots:
            self._call(user, "POST", "/bot/stop", {"botId": 999_999})
            return
        owner, bot_id = self._running_bots.pop(self._random.randrange(len(self._running_bots)))
        # Now and then somebody reaches for another one's bot.
        is_owner = self._random.random() < 0.8
        self._call(owner if is_owner else user, "POST", "/bot/stop", {"botId": bot_id})

    def _read_order(self, user: User) -> None:
        self._call(user, "GET", f"/orders/{self._random.randint(1001, 1045)}")

    def _read_preferences(self, user: User) -> None:
        self._call(user, "GET", "/user/preferences")

    def _change_preferences(self, user: User) -> None:
        body = {"theme": self._random.choice(THEMES), "currency": self._random.choice(CURRENCIES)}
        self._call(user, "PUT", "/user/preferences", body)

    def _pay(self, user: User) -> None:
        body = {
            "amount": round(self._random.lognormvariate(5, 1.5), 2),
            "currency": self._random.choice(CURRENCIES),
            "cardNumber": "4111 1111 1111 1111",
            "cvv": self._random.randint(100, 999),
            "password": user.demo_password,
        }
        self._call(user, "POST", "/payments", body)

    def _ask_for_nothing_there(self, user: User) -> None:
        self._call(user, "GET", self._random.choice(("/wp-login.php", "/admin", "/orders/1")))

    def _come_without_token(self, user: User) -> None:
        self._api.call("GET", "/dashboard/pnl")


class Auditor:
    """Somebody who reads the audit log while it is written."""

    QUESTIONS: tuple[tuple[str, dict[str, str]], ...] = (
        ("/audit/logs", {"limit": "20"}),
        ("/audit/logs", {"action": "LOGIN_FAILED"}),
        ("/audit/logs", {"userId": "1", "action": "CREATE"}),
        ("/audit/logs", {"resource": "/bot/start", "startDate": "2025-11-01T00:00:00Z"}),
        ("/audit/stats", {}),
        ("/audit/export", {"format": "csv", "userId": "2"}),
    )

    def __init__(self, console: Server, token: str) -> None:
        self.kinds: Counter[str] = Counter()
        self._console = console
        self._token = token

    def step(self) -> None:
        """Ask the next question."""
        path, parameters = self.QUESTIONS[self.kinds.total() % len(self.QUESTIONS)]
        self.kinds[path] += 1
        headers = {"Authorization": f"Token {self._token}"}
        self._console.call("GET", path, params=parameters, headers=headers)


def drive(
    trading_url: str,
    console_url: str,
    auditor_token: str,
    requests: int = 300,
    seed: int = 7,
    seconds: float | None = None,
) -> TrafficSummary:
    """Make so many trading requests, or as many as fit into `seconds`, and audit alongside.

    The same seed makes the same requests in the same order. A server that is down is
    counted as unreachable, never an error.
    """
    api, console = Server(trading_url), Server(console_url)
    # Demo traffic, no secrets.
    traders = Traders(api, random.Random(seed))
    auditor = Auditor(console, auditor_token)
    deadline = time.monotonic() + seconds if seconds is not None else None
    done = 0
    while done < requests if deadline is None else time.monotonic() < deadline:
        traders.step()
        done += 1
        if done % AUDIT_EVERY == 0:
            auditor.step()
        if done % PROGRESS_EVERY == 0:
            _show_progress(done)
    _show_progress(done)
    sys.stdout.write("\n")
    api.close()
    console.close()
    return TrafficSummary(traders.kinds + auditor.kinds, api.answers, console.answers)


def _show_progress(done: int) -> None:
    sys.stdout.write(f"\r{done} requests")
    sys.stdout.flush()


def main() -> None:
    """Read the arguments and the environment, drive, and print the counts."""
    parser = argparse.ArgumentParser(description="Drive demo traffic.")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seconds", type=float, help="instead of a number of requests")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    summary = drive(
        os.environ.get("TRADING_URL", "http://127.0.0.1:8100"),
        os.environ.get("COMPLIANCE_URL", "http://127.0.0.1:8000"),
        os.environ["AUDITOR_TOKEN"],
        requests=arguments.requests,
        seed=arguments.seed,
        seconds=arguments.seconds,
    )
    sys.stdout.write(f"{summary}\n")


if __name__ == "__main__":
    main()
